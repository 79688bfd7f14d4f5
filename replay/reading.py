"""Files of market data to checked rows: keys become indices of instruments, every value is held to the rules.

The first row that breaks a rule stops the reading with the file, the row (counted from 1), the field and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agents.frame import BAR, QUOTE, TRADE, WIDTH, Floats, Ints
from agents.kernels import kernel
from connectors.cache import SMALL_BYTES
from connectors.columns import faults
from replay.files import WHOLE_BYTES, SourceFile, metadata, parts, passed_over
from replay.rowgroups import FOOTER_BYTES, Part, Wanted
from replay.rows import Rows, series_code
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
    instrument: Ints | int
    """Of each row, or of all."""
    row: int
    """Where the first row that was read stands in the file, from 0."""
    kept: Ints | None = None
    """Of the rows that were read, those that are left; None where all are."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def place(self, row: int) -> int:
        return self.row + (row if self.kept is None else int(self.kept[row]))


@dataclass(frozen=True)
class RowReader:
    """Reads the rows that are wanted, of the instruments of a book.

    `took` is told of each file that is read whole, with its bytes.
    """

    instruments: tuple[str, ...]
    wanted: Wanted
    took: Callable[[SourceFile, bytes], None]

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
            waiting += len(piece)
            if waiting >= read_rows:
                rows = _checked(pieces, last_at)
                last_at = int(rows.observed_at[-1])
                yield self._within(rows)
                pieces, waiting = [], 0
        if pieces:
            yield self._within(_checked(pieces, last_at))

    def _pieces(self, files: Sequence[SourceFile]) -> Iterator[_Piece]:
        for file in files:
            for row, table in self._parts(file):
                instrument = self._instrument(table["key"])
                piece = _Piece(file, table.remove_column(0), instrument, row)
                if not isinstance(instrument, int) and (instrument < 0).any():
                    kept = np.flatnonzero(instrument >= 0)
                    piece = _Piece(file, piece.table.take(kept), instrument[kept], row, kept)
                if len(piece) and not (isinstance(instrument, int) and instrument < 0):
                    yield piece

    def _parts(self, file: SourceFile) -> Iterator[Part]:
        """Read a file, unless it is passed over. A small one is opened, and its footer read, but once."""
        size = file.size
        data = file.content() if size <= SMALL_BYTES else None
        looked = data is not None and size > FOOTER_BYTES and file.form == "parquet"
        known = metadata(file, data) if looked else None
        if passed_over(file, self.wanted, known):
            return
        if data is None and size <= WHOLE_BYTES:
            data = file.content()
        if data is not None:
            self.took(file, data)
        yield from parts(file, data, self.wanted, known)

    def _instrument(self, key: pa.ChunkedArray) -> Ints | int:
        """Give each row's index among the instruments, -1 where it is another's; one number where all have one."""
        names = key.combine_chunks()
        if not pa.types.is_dictionary(names.type):
            names = names.dictionary_encode()
        held = names.dictionary.to_pylist()
        places = [self.instruments.index(name) if name in self.instruments else -1 for name in held]
        if len(places) == 1:
            return places[0]
        found: Ints = np.array(places, np.int64)[names.indices.to_numpy()]
        return found

    def _within(self, rows: Rows) -> Rows:
        first, last = int(rows.observed_at[0]), int(rows.observed_at[-1])
        _, start_ns, end_ns = self.wanted
        if start_ns <= first and last < end_ns:
            return rows
        lo, hi = np.searchsorted(rows.observed_at, (start_ns, end_ns)).tolist()
        return rows.at(slice(lo, hi))


def _checked(pieces: Sequence[_Piece], last_at: int) -> Rows:
    """Join pieces of one kind and hold them to the rules, their order and their folders."""
    kind = pieces[0].file.kind
    table = pa.concat_tables([piece.table for piece in pieces])
    columns: Columns = {name: _owned(table[name]) for name in table.column_names}
    for rule, broken in faults(kind, columns):
        raise _bad_row(pieces, int(np.argmax(broken)), rule.field, columns[rule.field], rule.reason)
    times = columns["observed_at"]
    starts = np.cumsum([0, *(len(piece) for piece in pieces)])
    first, last = times[starts[:-1]], times[starts[1:] - 1]
    early = first < [piece.file.lo for piece in pieces]
    late = last >= [piece.file.hi for piece in pieces]
    if (early | late).any():
        piece = int(np.argmax(early | late))
        row = int(starts[piece]) if early[piece] else int(starts[piece + 1]) - 1
        raise _bad_row(pieces, row, "observed_at", times, "lies outside the times of the folder")
    back = times[1:] < times[:-1]
    if times[0] < last_at or back.any():
        row = 0 if times[0] < last_at else int(np.argmax(back)) + 1
        raise _bad_row(pieces, row, "observed_at", times, "lies before that of the row above it")
    return _rows(kind, [piece.instrument for piece in pieces], starts, columns)


def _owned(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Give a column of numbers without nulls as an array that may be written to, in place where it lies in one piece.

    So all frames have columns of one sort, and what takes them is compiled for one.
    """
    found: npt.NDArray[Any] = column.to_numpy()
    if found.flags.writeable:
        return found
    buffer = column.chunk(0).buffers()[1]
    if not buffer.is_mutable:
        return found.copy()
    return np.frombuffer(buffer, found.dtype, len(found), column.chunk(0).offset * found.itemsize)


def _rows(kind: str, instruments: Sequence[Ints | int], starts: Ints, columns: Columns) -> Rows:
    """Lay columns out as a frame has them."""
    n, code = int(starts[-1]), _KINDS[kind]
    # In Arrow's memory, which keeps its pages: new ones would be cleared first, which takes longer than to fill them.
    values = np.frombuffer(pa.allocate_buffer(n * WIDTH * 8)).reshape(n, WIDTH)
    given = [_floats(columns[name]) for name in _VALUES[kind]]
    a, b, c, d, e, f = given + [_NOTHING] * (WIDTH - len(given))
    _interleave(values, a, b, c, d, e, f)
    return Rows(
        _constant(code, n),
        _instrument(instruments, starts),
        columns["number"],
        columns["occurred_at"],
        columns["observed_at"],
        values,
        _run(code, instruments, columns["number"], values),
    )


def _instrument(instruments: Sequence[Ints | int], starts: Ints) -> Ints:
    """Join the instruments of pieces; a column of one alone lies ready."""
    n, one = int(starts[-1]), _only(instruments)
    if one is not None:
        return _constant(one, n)
    found: Ints = np.empty(n, np.int64)
    for lo, hi, each in zip(starts[:-1], starts[1:], instruments, strict=True):
        found[lo:hi] = each
    return found


def _only(instruments: Sequence[Ints | int]) -> int | None:
    """Give the instrument that all pieces are of; None where there are several."""
    one = instruments[0]
    return one if isinstance(one, int) and all(isinstance(each, int) and each == one for each in instruments) else None


def _constant(value: int, rows: int) -> Ints:
    """Give a column of one value: part of one that all share, which so stays in the processor's cache."""
    return _repeated(value, 1 << (rows - 1).bit_length())[:rows]


@lru_cache(16)
def _repeated(value: int, rows: int) -> Ints:
    return np.full(rows, value, np.int64)


def _run(kind: int, instruments: Sequence[Ints | int], number: Ints, values: Floats) -> int:
    """Give the series that checked rows are a run of, see `Rows`; -1 where they are none."""
    one = _only(instruments)
    if one is None:
        return -1
    interval_ns = int(values[0, 5])
    of_one = kind != BAR or bool((values[:, 5] == interval_ns).all())
    return series_code(kind, one, interval_ns) if of_one and (number[1:] > number[:-1]).all() else -1


@kernel
def _interleave(values: Floats, a: Floats, b: Floats, c: Floats, d: Floats, e: Floats, f: Floats) -> None:
    """Write columns side by side, 0 where one has no more: five times as fast as column by column."""
    for i in range(len(values)):
        values[i, 0] = a[i]
        values[i, 1] = b[i]
        values[i, 2] = c[i]
        values[i, 3] = d[i] if i < len(d) else 0.0
        values[i, 4] = e[i] if i < len(e) else 0.0
        values[i, 5] = f[i] if i < len(f) else 0.0


def _floats(column: npt.NDArray[Any]) -> Floats:
    """Give a column as read-only floats: as they come from Arrow, and so that the kernel is compiled but once."""
    floats = column.astype(np.float64, copy=False).view()
    floats.flags.writeable = False
    return floats


_NOTHING = _floats(np.empty(0))


def _bad_row(pieces: Sequence[_Piece], row: int, field: str, column: npt.NDArray[Any], reason: str) -> ArchiveError:
    value = column[row]
    for piece in pieces:
        if row < len(piece):
            break
        row -= len(piece)
    return ArchiveError(
        f"{piece.file.place}: row {piece.place(row) + 1:,}: {field} {value} {reason};"
        " bring the source in with `quorum import`, which drops and reports such rows"
    )
