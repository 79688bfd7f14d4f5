"""Feeds: sources of market data and texts, each told to a sink by one protocol."""
