"""Reading ahead of the reader: while one file is read, the next that lie in a bucket are fetched."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future

from connectors.cache import in_background
from replay.files import SourceFile
from replay.rowgroups import Wanted

AHEAD_FILES = 16
AHEAD_BYTES = 32 << 20
"""What is fetched before it is needed ends with the file that reaches either."""


def ahead(files: Sequence[SourceFile], wanted: Wanted) -> Generator[SourceFile, None, None]:
    """Give files in turn, each with those behind it on their way.

    A fetch that fails is tried again by whoever reads the file, and then told.
    """
    waiting: deque[tuple[SourceFile, Future[None] | None]] = deque()
    left = iter(files)
    size = 0
    try:
        while True:
            while len(waiting) <= AHEAD_FILES and size < AHEAD_BYTES and (file := next(left, None)):
                to_come = file.mirror is not None and not file.mirror.is_whole
                waiting.append((file, in_background(file.fetch, wanted) if to_come else None))
                size += file.size if to_come else 0
            if not waiting:
                return
            file, future = waiting.popleft()
            size -= file.size if future else 0
            yield file
    finally:
        for _, future in waiting:
            if future is not None:
                future.cancel()
