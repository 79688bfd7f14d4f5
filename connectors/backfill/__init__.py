"""Backfill: the past of a market, asked of its exchange, as rows of an archive."""
