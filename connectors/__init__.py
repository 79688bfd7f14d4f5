"""The edges: exchanges, text feeds, models and object stores, each behind the protocol of its kind."""
