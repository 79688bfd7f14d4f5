"""What the system decides: deterministic agents that answer events with events, and do nothing else."""
