"""The `quorum` command: one file a command group, errors in one sentence, exit codes that scripts can trust."""

from __future__ import annotations

import atexit
import gc
import sys

import typer

from cli import (
    backfill,
    building,
    calibration,
    conformance,
    control,
    data,
    dataset,
    demo,
    importing,
    lake,
    letters,
    live,
    models,
    new,
    record,
    replay,
    review,
    schema,
    sql,
    status,
    sweep,
    why,
)
from schemas.errors import KafkaError, QuorumError

EXIT_CODES = """

Exit codes: 0 done; 1 a check failed (a log diverged, a schema is out of date); 2 bad input, or what cannot be read or
written; 3 no answer from the cluster, or a command sent and not taken yet; 4 an agent failed and the book stopped;
130 interrupted. The log of a run that ends early is whole.
"""

app = typer.Typer(
    name="quorum",
    help="Replay markets through models that vote and rules that decide." + EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
demo.register(app)
replay.register(app)
record.register(app)
sweep.register(app)
why.register(app)
dataset.register(app)
importing.register(app)
backfill.register(app)
data.register(app)
new.register(app)
schema.register(app)
sql.register(app)
live.register(app)
status.register(app)
models.register(app)
calibration.register(models.commands)
control.register(app)
review.register(app)
letters.register(app)
conformance.register(app)
lake.register(app)
building.register()


def run() -> None:
    """Entry point: a user's mistake prints one sentence, never a traceback."""
    atexit.register(_leave)
    try:
        app()
    except QuorumError as error:
        sys.stderr.write(f"quorum: {error}\n")
        sys.exit(error.exit_code)
    except Exception as error:
        reason = refused_by_kafka(error)
        if not reason:
            raise
        sys.stderr.write(f"quorum: Kafka: {reason}; see the QUORUM_KAFKA_* settings\n")
        sys.exit(KafkaError.exit_code)


def _leave() -> None:
    """Keep the interpreter from looking for cycles in all that numba holds, on its way out.

    DuckDB's binding would report what is frozen as leaked.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()


def refused_by_kafka(error: Exception) -> str:
    """Give what Kafka's client says of its own error; nothing for any other. It is not loaded for the question."""
    client = sys.modules.get("confluent_kafka")
    return error.args[0].str() if client is not None and isinstance(error, client.KafkaException) else ""
