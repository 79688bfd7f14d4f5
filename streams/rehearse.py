"""One dress rehearsal, whole: topics of its own, all parts in this process, an archive in, a log out."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from logging import getLogger

from msgspec import structs

from replay.cassette import RecordedVerdicts
from replay.pace import WallPacer
from replay.run import Progress, Settings
from replay.sources import open_archive
from schemas.book import Book
from schemas.errors import KafkaError
from streams.admin import create_topics, delete_topics
from streams.export import Exported, export
from streams.gateway import Gateway
from streams.kafka import Kafka, partition_of
from streams.live import DeskPart
from streams.membership import Part
from streams.rehearsal import RehearsalExecutor, RehearsalSequencer

END_S = 30.0
log = getLogger("quorum.rehearsal")


def rehearse(
    kafka: Kafka,
    book: Book,
    settings: Settings,
    on_progress: Callable[[Progress], None],
    stopping: threading.Event,
) -> Exported:
    """Work an archive through Kafka and write its log to `settings.out`, as a local replay does; no report.

    The topics are deleted at the end. `stopping` ends the run between two entries; what was done until then is
    written. Raises ArchiveError for the archive, KafkaError where a part fails or does not answer.
    """
    source = open_archive(settings.archive, book, settings.start_ns, settings.end_ns)
    recorded = RecordedVerdicts.load(settings.verdicts) if settings.verdicts else RecordedVerdicts()
    stage = structs.replace(kafka, namespace=f"{kafka.namespace}rehearsal-{book.name}-{secrets.token_hex(4)}.")
    create_topics(stage)

    def show(now: int, entries: int) -> None:
        on_progress(Progress(*source.span, now, entries))

    try:
        sequencer = RehearsalSequencer(stage, book, source, on_progress=show)
        if settings.speed is not None:
            sequencer.pacer = WallPacer(settings.speed, lambda: None)
        parts: dict[str, Part] = {
            "executor": RehearsalExecutor(stage, partition_of(book.name), book),
            "gateway": Gateway(stage, [book], rehearsal=recorded),
            "desk": DeskPart(stage, [book], ""),
            "sequencer": sequencer,
        }
        _run(parts, sequencer.done, stopping)
        return export(stage, book, settings.out, market_data=False)
    finally:
        delete_topics(stage)


def _run(parts: dict[str, Part], done: threading.Event, stopping: threading.Event) -> None:
    """Run all parts until the archive is through or one of them fails."""
    failures: dict[str, BaseException] = {}
    end = threading.Event()

    def keep(name: str, part: Part) -> None:
        try:
            part.run(end)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the rehearsal and is told below
            failures[name] = error

    threads = [threading.Thread(target=keep, args=each, name=each[0], daemon=True) for each in parts.items()]
    for thread in threads:
        thread.start()
    while not (done.is_set() or stopping.is_set() or failures):
        done.wait(0.1)
    end.set()
    for thread in threads:
        thread.join(END_S)
    for name, error in failures.items():
        raise KafkaError(f"the rehearsal's {name} failed: {type(error).__name__}: {error}") from error
