"""What is computed of the raw records: bars of trades and the tone of texts, by one rule each, live and in batches."""
