"""Models that vote over a network: how a question is put to one, and how its answer is read."""
