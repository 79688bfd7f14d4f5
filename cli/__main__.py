"""`python -m cli` is `quorum`."""

from cli.main import run

run()
