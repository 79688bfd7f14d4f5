"""A file that grows, read by whole lines: a line counts when its line break is there.

Where reading stands is kept in memory alone, and proved by the bytes before it: a file that was truncated, or written
anew in its place, is read from its start. An open file is read to its end though it was renamed or removed.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from connectors.feeds.http import NO_JSON

MAX_LINE_BYTES = 1_000_000
"""Of a line, and what is read at a time."""
_WITNESS_BYTES = 64
_SEPARATORS = ",;\t|"


class Tail:
    """One file, open."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises OSError."""
        self._file = path.open("rb", buffering=0)
        self.is_csv = path.suffix.lower() in (".csv", ".tsv")
        self._begin()

    def _begin(self) -> None:
        self._offset, self._witness, self._is_overlong = 0, b"", False
        self.line = 0
        self.header: list[str] = []
        self.separator = ","

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes that the file has now."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def offset(self) -> int:
        """Bytes that were read."""
        return self._offset

    def is_rewritten(self) -> bool:
        """Tell whether the bytes before the position are others than were read, or are no more; then begin anew."""
        start = self._offset - len(self._witness)
        if os.pread(self._file.fileno(), len(self._witness), start) == self._witness:
            return False
        self._begin()
        return True

    def blocks(self) -> Iterator[list[tuple[int, bytes | None]]]:
        """Give the whole lines behind the position, block by block, each with its number; the position follows.

        In a CSV, a line break within quotes ends no line. A line that is too long is given as None. Nothing more is
        given once the file was written anew, which may be between two blocks: `is_rewritten` tells.
        """
        while block := self._behind():
            found: list[tuple[int, bytes | None]] = []
            start = 0
            while (end := self._end(block, start)) >= 0:
                self.line += 1
                found.append((self.line, None if self._is_overlong else block[start:end].rstrip(b"\r")))
                self._is_overlong = False
                start = end + 1
            if not found:
                if len(block) < MAX_LINE_BYTES:
                    return
                self._is_overlong, start = True, len(block)
            self._advance(block[:start])
            yield found

    def _behind(self) -> bytes:
        """Give what stands behind the position; nothing where other bytes than were read stand before it.

        Both are read at once, so that no writer comes in between.
        """
        before = len(self._witness)
        data = os.pread(self._file.fileno(), before + MAX_LINE_BYTES, self._offset - before)
        return data[before:] if data.startswith(self._witness) else b""

    def _end(self, block: bytes, start: int) -> int:
        """Give where the line ends that starts here, -1 where it does not."""
        first = end = block.find(b"\n", start)
        quotes, counted = 0, start
        while self.is_csv and end >= 0:
            quotes += block.count(b'"', counted, end)
            if quotes % 2 == 0:
                return end
            counted, end = end, block.find(b"\n", end + 1)
        is_stray = end < 0 <= first and start == 0 and len(block) == MAX_LINE_BYTES
        return first if is_stray else end

    def _advance(self, taken: bytes) -> None:
        self._offset += len(taken)
        self._witness = (self._witness + taken)[-_WITNESS_BYTES:]


def record_of(tail: Tail, text: bytes) -> dict[str, Any] | None:
    """Read one line as the values of a row; None for a CSV's header. Raises ValueError for what is no row.

    Of JSON, what holds further values is no value of a row.
    """
    if tail.is_csv:
        return _row(tail, text.decode("utf-8-sig" if not tail.header else "utf-8"))
    try:
        record = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf") if tail.line == 1 else text)
    except NO_JSON as error:
        raise ValueError("a line that is no JSON") from error
    if not isinstance(record, dict):
        raise ValueError("a line that is no JSON object")  # noqa: TRY004 - as for what is no JSON
    return {name: value for name, value in record.items() if not isinstance(value, dict | list)}


def _row(tail: Tail, text: str) -> dict[str, Any] | None:
    if not tail.header:
        tail.separator = max(_SEPARATORS, key=text.count)
    try:
        fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=tail.separator, strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError("a line that is no row of CSV") from error
    if not tail.header:
        tail.header = [name.strip() for name in fields]
        return None
    if len(fields) != len(tail.header):
        raise ValueError(f"a row of another number of fields than the {len(tail.header)} of the header")
    return {name: value or None for name, value in zip(tail.header, fields, strict=True)}
