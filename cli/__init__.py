"""The `quorum` command, one file for each group of commands."""
