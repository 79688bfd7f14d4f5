"""Files of market data to checked rows: keys become indices of instruments, every value is held to the rules.

The first row that breaks a rule stops the reading with the file, the row (counted from 1), the field and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.frame import BAR, QUOTE, TRADE, WIDTH, Ints
from connectors.columns import faults
from replay.files import SourceFile, tables
from replay.rows import Rows
from schemas.errors import ArchiveError

_KINDS = {"bars": BAR, "trades": TRADE, "quotes": QUOTE}
_VALUES = {
    "bars": ("open", "high", "low", "close", "volume", "interval_ns"),
    "trades": ("price", "size", "side"),
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
}
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Piece:
    """Rows of one file, in its order."""

    file: SourceFile
    table: pa.Table
    instrument: Ints
    numbers: Ints
    """Where the rows stand in the file, from 0."""

    def at(self, which: Ints) -> _Piece:
        return _Piece(self.file, self.table.take(which), self.instrument[which], self.numbers[which])


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of some instruments that were observed from `start_ns` to before `end_ns`.

    `content` gives a small file's bytes, None for one that is to be read bit by bit.
    """

    instruments: tuple[str, ...]
    start_ns: int
    end_ns: int
    content: Callable[[SourceFile], bytes | None]

    def rows(self, files: Sequence[SourceFile], read_rows: int) -> Iterator[Rows]:
        """Give the rows of files of one kind that follow each other in time, about `read_rows` at once.

        Many small files are converted and checked as one: what is done a row costs little beside what is done a
        call. Raises ArchiveError at the first row that cannot be true.
        """
        pieces: list[_Piece] = []
        waiting = 0
        last_at = 0
        for piece in self._pieces(files):
            pieces.append(piece)
            waiting += len(piece.numbers)
            if waiting >= read_rows:
                rows = _checked(pieces, last_at)
                last_at = int(rows.observed_at[-1])
                yield self._within(rows)
                pieces, waiting = [], 0
        if pieces:
            yield self._within(_checked(pieces, last_at))

    def _pieces(self, files: Sequence[SourceFile]) -> Iterator[_Piece]:
        wanted = frozenset(self.instruments)
        for file in files:
            seen = 0
            for table in tables(file, self.content(file), wanted):
                instrument = self._instrument(table["key"])
                numbers = np.arange(seen, seen + table.num_rows)
                seen += table.num_rows
                piece = _Piece(file, table.remove_column(0), instrument, numbers)
                if (instrument < 0).any():
                    piece = piece.at(np.flatnonzero(instrument >= 0))
                if len(piece.numbers):
                    yield piece

    def _instrument(self, key: pa.ChunkedArray) -> Ints:
        """Give each row's index among the instruments, -1 where it is another's."""
        names = key.combine_chunks()
        if not pa.types.is_dictionary(names.type):
            names = names.dictionary_encode()
        held = names.dictionary.to_pylist()
        places = np.array([self.instruments.index(n) if n in self.instruments else -1 for n in held], np.int64)
        found: Ints = places[names.indices.to_numpy()] if held else places
        return found

    def _within(self, rows: Rows) -> Rows:
        first, last = int(rows.observed_at[0]), int(rows.observed_at[-1])
        if self.start_ns <= first and last < self.end_ns:
            return rows
        lo, hi = np.searchsorted(rows.observed_at, (self.start_ns, self.end_ns)).tolist()
        return rows.at(slice(lo, hi))


def _checked(pieces: Sequence[_Piece], last_at: int) -> Rows:
    """Join pieces of one kind and hold them to the rules, their order and their folders."""
    kind = pieces[0].file.kind
    table = pa.concat_tables([piece.table for piece in pieces])
    columns: Columns = {name: table[name].to_numpy() for name in table.column_names}
    for rule, broken in faults(kind, columns):
        raise _bad_row(pieces, int(np.argmax(broken)), rule.field, columns[rule.field], rule.reason)
    times = columns["observed_at"]
    starts = np.cumsum([0, *(len(piece.numbers) for piece in pieces)])
    first, last = times[starts[:-1]], times[starts[1:] - 1]
    early = first < [piece.file.lo for piece in pieces]
    late = last >= [piece.file.hi for piece in pieces]
    if (early | late).any():
        piece = int(np.argmax(early | late))
        row = int(starts[piece]) if early[piece] else int(starts[piece + 1]) - 1
        raise _bad_row(pieces, row, "observed_at", times, "lies outside the times of the folder")
    back = np.diff(times, prepend=last_at) < 0
    if back.any():
        reason = "lies before that of the row above it"
        raise _bad_row(pieces, int(np.argmax(back)), "observed_at", times, reason)
    return _rows(kind, np.concatenate([piece.instrument for piece in pieces]), columns)


def _rows(kind: str, instrument: Ints, columns: Columns) -> Rows:
    values = np.zeros((len(instrument), WIDTH))
    for place, name in enumerate(_VALUES[kind]):
        values[:, place] = columns[name]
    return Rows(
        np.full(len(instrument), _KINDS[kind], np.int64),
        instrument,
        columns["number"],
        columns["occurred_at"],
        columns["observed_at"],
        values,
    )


def _bad_row(pieces: Sequence[_Piece], row: int, field: str, column: npt.NDArray[Any], reason: str) -> ArchiveError:
    value = column[row]
    for piece in pieces:
        if row < len(piece.numbers):
            break
        row -= len(piece.numbers)
    return ArchiveError(
        f"{piece.file.path}: row {piece.numbers[row] + 1:,}: {field} {value} {reason};"
        " bring the source in with `quorum import`, which drops and reports such rows"
    )
