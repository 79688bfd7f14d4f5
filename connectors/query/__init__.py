"""A lake or a run as tables that SQL can ask: views of every topic and every event, and the same tables for Athena."""
