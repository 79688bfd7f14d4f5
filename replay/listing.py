"""What lies in an archive's folders between two times, in a folder or a bucket, as their names tell."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from connectors.archive import NS_PER_HOUR
from connectors.store import FolderStore, Listed, Store
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.errors import ArchiveError

Times: TypeAlias = tuple[int, int]
"""From a time to before another, in ns."""
ALWAYS: Times = (0, 2**63 - 1)
"""The bounds of a file that has not told its own."""
_PASSED_OVER = (".", "_")
_PART = re.compile(r"(year|month|day|hour)=(\d+)")


def walk(store: Store, folder: str, bounds: Times, wanted: Times) -> Iterator[tuple[Listed, Times]]:
    """Give the files below a folder that its parts' names do not rule out, with the times that these stand for.

    A bucket's folder that is wanted whole is listed at once, with all that lies below it.
    """
    if not isinstance(store, FolderStore) and wanted[0] <= bounds[0] and bounds[1] <= wanted[1]:
        for listed in store.list(folder):
            inner = listed.key.removeprefix(folder).split("/")
            if not any(name.startswith(_PASSED_OVER) for name in inner):
                yield listed, _narrowed(store.where, listed.key.rpartition("/")[0])
        return
    names, objects = store.level(folder)
    for name in names:
        if name.startswith(_PASSED_OVER):
            continue
        within = _narrowed(store.where, folder + name)
        if within[0] < wanted[1] and within[1] > wanted[0]:
            yield from walk(store, f"{folder}{name}/", within, wanted)
    for listed in objects:
        if not listed.key.removeprefix(folder).startswith(_PASSED_OVER):
            yield listed, bounds


@lru_cache
def _narrowed(where: str, folder: str) -> Times:
    """Give the times that a folder stands for; a name that is no part of a time narrows nothing."""
    matches = [_PART.fullmatch(name) for name in folder.split("/")]
    parts = {match[1]: int(match[2]) for match in matches if match}
    if not parts:
        return ALWAYS
    try:
        at = datetime(parts["year"], parts.get("month", 1), parts.get("day", 1), parts.get("hour", 0), tzinfo=UTC)
    except (KeyError, ValueError):
        raise ArchiveError(f"{where}/{folder}: is not a folder of a year, month, day or hour") from None
    lo = int(at.timestamp()) * NS_PER_S
    if "hour" in parts:
        return lo, lo + NS_PER_HOUR
    if "day" in parts:
        return lo, lo + NS_PER_DAY
    days = calendar.monthrange(at.year, at.month)[1] if "month" in parts else 365 + calendar.isleap(at.year)
    return lo, lo + days * NS_PER_DAY
