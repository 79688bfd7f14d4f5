"""The same archive through Kafka and through the local engine: the same log, byte for byte."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cli.books import load_book
from replay.audit import audit
from replay.run import Run, Settings
from replay.sources import open_archive
from schemas.base import NS_PER_MIN
from streams.kafka import Kafka
from streams.rehearse import rehearse

ROOT = Path(__file__).parents[2]
SPANS = {
    ROOT / "tests/golden/session/book.yaml": (ROOT / "tests/golden/session/archive", None),
    ROOT / "examples/pair.yaml": (ROOT / "examples/archive", 6 * 60),
}


@pytest.mark.parametrize("path", SPANS, ids=lambda path: path.parent.name)
def test_a_rehearsal_leaves_the_log_of_a_local_replay(broker: Kafka, tmp_path: Path, path: Path) -> None:
    archive, minutes = SPANS[path]
    book = load_book(path)
    first = open_archive(archive, book, None, None).span[0]
    end_ns = None if minutes is None else first + minutes * NS_PER_MIN
    settings = Settings(archive=archive, out=tmp_path / "local", end_ns=end_ns, report=False)
    local = Run(book, settings).run(lambda _: None)
    staged = Settings(archive=archive, out=tmp_path / "kafka", end_ns=end_ns)
    done = rehearse(broker, book, staged, lambda _: None, threading.Event())
    for line in sorted((tmp_path / "local" / "log").iterdir()):
        assert (tmp_path / "kafka" / "log" / line.name).read_bytes() == line.read_bytes(), line.name
    assert done.log_sha256 == local.log_sha256
    assert audit(tmp_path / "kafka", open_archive(archive, book, None, end_ns).frames(), book).derived_events > 0
