"""Tables of market data to checked rows: keys become indices of instruments, every value is held to the rules.

The first row that breaks a rule stops the reading with the file, the row (counted from 1), the field and the value.
"""

from __future__ import annotations

from collections.abc import Iterator
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
class RowReader:
    """Reads the rows of some instruments that were observed from `start_ns` to before `end_ns`."""

    instruments: tuple[str, ...]
    start_ns: int
    end_ns: int

    def rows(self, file: SourceFile, data: bytes | None) -> Iterator[Rows]:
        """Give the file's rows in its own order. Raises ArchiveError at the first that cannot be true."""
        seen = 0
        last_at = 0
        for table in tables(file, data, frozenset(self.instruments)):
            instrument = self._instrument(table["key"])
            ours = np.flatnonzero(instrument >= 0)
            columns: Columns = {name: table[name].to_numpy() for name in table.column_names if name != "key"}
            if len(ours) < table.num_rows:
                instrument = instrument[ours]
                columns = {name: column[ours] for name, column in columns.items()}
            if len(ours):
                _check(file, columns, ours + seen, last_at)
                last_at = int(columns["observed_at"][-1])
                yield self._within(_rows(file.kind, instrument, columns))
            seen += table.num_rows

    def _instrument(self, key: pa.ChunkedArray) -> Ints:
        """Give each row's index among the instruments, -1 where it is another's."""
        names = key.combine_chunks()
        if not pa.types.is_dictionary(names.type):
            names = names.dictionary_encode()
        place = {name: i for i, name in enumerate(self.instruments)}
        places = np.array([place.get(name, -1) for name in names.dictionary.to_pylist()], np.int64)
        found: Ints = places[names.indices.to_numpy()] if len(names) else places[:0]
        return found

    def _within(self, rows: Rows) -> Rows:
        first, last = int(rows.observed_at[0]), int(rows.observed_at[-1])
        if self.start_ns <= first and last < self.end_ns:
            return rows
        lo, hi = np.searchsorted(rows.observed_at, (self.start_ns, self.end_ns)).tolist()
        return rows.at(slice(lo, hi))


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


def _check(file: SourceFile, columns: Columns, numbers: Ints, last_at: int) -> None:
    """Hold rows to the rules, to their order and to their folder; `numbers` are their places in the file."""
    for rule, broken in faults(file.kind, columns):
        row = int(np.argmax(broken))
        raise _bad_row(file, numbers[row], rule.field, columns[rule.field][row], rule.reason)
    times = columns["observed_at"]
    before = np.concatenate(([last_at], times[:-1]))
    for broken, reason in (
        (times < before, "lies before that of the row above it"),
        ((times < file.lo) | (times >= file.hi), "lies outside the times of the folder"),
    ):
        if broken.any():
            row = int(np.argmax(broken))
            raise _bad_row(file, numbers[row], "observed_at", times[row], reason)


def _bad_row(file: SourceFile, number: int, field: str, value: object, reason: str) -> ArchiveError:
    return ArchiveError(
        f"{file.path}: row {number + 1:,}: {field} {value} {reason};"
        " bring the source in with `quorum import`, which drops and reports such rows"
    )
