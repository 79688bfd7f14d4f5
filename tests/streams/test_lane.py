"""When a segment is cut, where it ends, and that a predecessor's plan is made as it was planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.lake.kept import Kept
from connectors.lake.links import Manifest
from connectors.lake.manifests import Chain
from connectors.lake.records import records_of
from connectors.store import FolderStore
from schemas.errors import StoreError
from streams.lane import SEGMENT_BYTES, SEGMENT_ROWS, Lane, Position, archive, locate

PLACE = ("ticks", 3)


def records(offsets: Sequence[int], size: int = 1) -> list[Kept]:
    return [Kept(offset, 1_000 + offset, 1, b"k", b"", b"x" * size) for offset in offsets]


def lane(held: Sequence[Kept], now: float = 0.0) -> Lane:
    made = Lane(*PLACE)
    made.position = Position(Chain(FolderStore(Path("unused")), *PLACE), held[0].offset if held else 0)
    made.take(held, now)
    return made


def test_a_lane_is_due_when_it_is_full_or_its_oldest_record_has_waited() -> None:
    held = lane(records(range(10)), now=100.0)
    assert not held.is_due(159.0, 60.0)
    assert held.is_due(160.0, 60.0)
    assert lane(records(range(SEGMENT_ROWS))).is_due(0.0, 60.0)
    assert not lane(records(range(SEGMENT_ROWS - 1))).is_due(0.0, 60.0)
    assert lane(records(range(4), SEGMENT_BYTES // 4)).is_due(0.0, 60.0)
    assert not lane([]).is_due(1e9, 60.0)


def test_a_segment_ends_behind_its_last_record_and_holds_no_more_than_it_may() -> None:
    many = lane(records(range(0, 3 * SEGMENT_ROWS, 2)))
    end, found = many.segment()
    assert (len(found), end) == (SEGMENT_ROWS, 2 * SEGMENT_ROWS - 1)
    heavy = lane(records(range(10), SEGMENT_BYTES // 3))
    assert [record.offset for record in heavy.segment()[1]] == [0, 1, 2, 3], "the one that fills it is its last"


def test_what_is_held_is_counted_and_let_go() -> None:
    held = lane(records(range(10), 100))
    assert held.oldest_ms == 1_000
    before = held.held_bytes
    assert held.drop(held.before(4)) == before * 4 // 10
    assert held.held_bytes == before * 6 // 10
    assert [record.offset for record in held.records] == [4, 5, 6, 7, 8, 9]


def test_a_lane_that_follows_a_plan_waits_for_its_end_and_holds_to_it() -> None:
    held = lane(records(range(10)))
    held.planned = 20
    assert not held.is_due(1e9, 60.0), "records of the plan are still to come"
    held.take(records(range(10, 30)), 0.0)
    assert held.is_due(0.0, 60.0)
    end, found = held.segment()
    assert (end, found[-1].offset) == (20, 19)


def test_a_plan_whose_last_records_are_compacted_away_ends_where_the_partition_does() -> None:
    held = lane(records(range(10)))
    held.planned = 20
    held.end = 25
    assert held.is_due(0.0, 60.0)
    assert held.segment() == (20, records(range(10)))


@pytest.mark.parametrize(("planned", "made"), [(5, 5), (10, 10), (14, 0)])
def test_the_segment_that_a_predecessor_has_planned_is_the_one_that_is_made(
    tmp_path: Path, planned: int, made: int
) -> None:
    store = FolderStore(tmp_path)
    assert Chain(store, *PLACE).plan(0, planned) == planned
    chain = Chain(store, *PLACE)
    assert chain.next() is None
    done = archive(Position(chain, 0), 10, records(range(10)))
    if not made:
        assert done == planned, "more records are needed"
        done = archive(Position(chain, 0), planned, records(range(planned)))
    assert isinstance(done, Manifest)
    assert (done.first, done.next, done.rows) == (0, planned, planned)
    assert list(records_of(store, done)) == records(range(planned))
    assert Chain(store, *PLACE).next() == planned


def test_an_archiver_that_was_thought_dead_changes_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    late = Position(Chain(store, *PLACE), 0)
    archive(Position(Chain(store, *PLACE), 0), 5, records(range(5)))
    before = {each.key: store.get(each.key) for each in store.list("")}
    with pytest.raises(StoreError, match="another archiver"):
        archive(late, 10, records(range(10)))
    assert {each.key: store.get(each.key) for each in store.list("")} == before


def test_a_commit_that_was_cut_off_behind_its_manifest_is_completed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    done = archive(Position(Chain(store, *PLACE), 0), 5, records(range(5)))
    assert isinstance(done, Manifest)
    folder = "manifests/ticks/0003/"
    whole = {each.key: store.get(each.key) for each in store.list(folder)}
    for gone in ("head", ""):
        store.put(f"{folder}{0:020d}.plan", b'{"next":5}')
        if gone:
            store.delete(f"{folder}{gone}")
        assert Chain(store, *PLACE).next() == 5
        assert {each.key: store.get(each.key) for each in store.list(folder)} == whole


def test_an_archive_goes_on_at_its_end_or_says_why_it_cannot(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert locate(store, *PLACE, {PLACE: (7, 9)}).first == 7, "a new lake begins at the first record that is kept"
    archive(Position(Chain(store, *PLACE), 7), 20, records(range(7, 20)))
    assert locate(store, *PLACE, {PLACE: (0, 40)}).first == 20
    assert locate(store, *PLACE, {PLACE: (20, 20)}).first == 20
    with pytest.raises(StoreError, match="offsets 20 to 24 are lost"):
        locate(store, *PLACE, {PLACE: (25, 40)})
    with pytest.raises(StoreError, match="made anew"):
        locate(store, *PLACE, {PLACE: (0, 19)})
