"""The replay host: it runs the agents over an archive and writes the log, the accounts and the report."""
