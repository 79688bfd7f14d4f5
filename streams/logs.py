"""Logs on standard error: one JSON object a line, or plain lines where a person watches.

An object has `time`, `level`, `logger`, `message`, `worker`, then whatever `extra` held (`book`, `event`, `seq`,
`partition`, ...) and `error` with `trace` where an exception was logged. Whatever came from outside is escaped, so a
line is always one line, and a secret that is named to `configure` never stands in one.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from streams.kafka import CLIENT_LOG

HIDDEN = "***"
OURS = "quorum"
EVERY_S = 10.0
MAX_SAID = 1_000
"""Sentences of libraries that are remembered."""
MIN_SECRET_CHARS = 4
"""A shorter secret would hide half of every line, and hides nothing from whoever guesses."""
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What a log record holds without any `extra`."""
_QUIET = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiokafka": logging.WARNING,
    "aiohttp": logging.WARNING,
    "streams.app": logging.WARNING,
}
"""Libraries, and what they must have to say to be heard."""


def configure(
    worker: str, *, level: int = logging.INFO, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Send all logs of this process to standard error, and nowhere else; called once, by the command line."""
    out = stream or sys.stderr
    _send(logging.StreamHandler(out), (PlainFormatter if out.isatty() else JsonFormatter)(worker, secrets), level)


def configure_command(*, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send the logs of a command that a person waits for to standard error: warnings and worse, one plain line each."""
    _send(logging.StreamHandler(stream), PlainFormatter("", secrets), logging.WARNING)


def _send(handler: logging.Handler, formatter: logging.Formatter, level: int) -> None:
    handler.setFormatter(formatter)
    handler.addFilter(Repeats())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name, at_least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, at_least))


class Repeats(logging.Filter):
    """Lets a library say the same once in `EVERY_S`: while a broker is away, its client says it 50 times a second.

    The next such line says in `repeated` how many were left out. What Quorum says itself always passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, ...], float] = {}
        self._left_out: Counter[tuple[str, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is to be written."""
        if record.name.partition(".")[0] == OURS:
            return True
        said: tuple[str, ...] = (record.name, str(record.msg))
        if record.name == CLIENT_LOG.name and isinstance(record.args, tuple):
            said += (str(record.args[0]),)  # one template for all; its first part is the kind, as FAIL
        if record.created - self._last.get(said, 0.0) < EVERY_S:
            self._left_out[said] += 1
            return False
        if len(self._last) >= MAX_SAID:
            self._last.clear()
            self._left_out.clear()
        self._last[said] = record.created
        if repeated := self._left_out.pop(said, 0):
            record.repeated = repeated
        return True


class _Formatter(logging.Formatter):
    def __init__(self, worker: str, secrets: Iterable[str] = ()) -> None:
        """`secrets` are texts that no line may show."""
        super().__init__()
        self._worker = worker
        kept = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
        self._secrets = sorted(kept | {json.dumps(secret)[1:-1] for secret in kept}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of a record."""
        line = self._line(record)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return line

    def _line(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class JsonFormatter(_Formatter):
    """One JSON object a line, in ASCII: no byte of it steers a terminal or ends a line."""

    def _line(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "worker": self._worker,
        }
        fields |= {name: value for name, value in _extra(record).items() if name not in fields}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = f"{record.exc_info[0].__name__}: {record.exc_info[1]}"
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(fields, default=str)


class PlainFormatter(_Formatter):
    """A line for a person: time, level, logger, message, then the extra fields as `name=value`."""

    def _line(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={_shown(value)}" for name, value in _extra(record).items())
        at = _time(record).strftime("%H:%M:%S")
        line = f"{at} {record.levelname:<8} {record.name}: {printable(record.getMessage())}{extra}"
        if record.exc_info and record.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
            line += "".join(f"\n    {printable(each)}" for each in lines)
        return line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extra(record: logging.LogRecord) -> Mapping[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _KNOWN}


def _shown(value: object) -> str:
    return str(value) if isinstance(value, int | float) else json.dumps(str(value))


def printable(text: str) -> str:
    """Give a text in which no character steers a terminal or ends a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
