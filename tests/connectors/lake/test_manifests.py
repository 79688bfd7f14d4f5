"""A segment is committed once, whole, whatever dies on the way and whoever tries it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.lake.chains import read_partition
from connectors.lake.compact import compact
from connectors.lake.manifests import Chain
from connectors.lake.records import records_of
from connectors.lake.verify import verify
from connectors.store import FolderStore
from schemas.errors import StoreError
from tests.connectors.lake.lakes import Crash, Dying, fill, segments, small_lake

TICKS = segments("ticks", 4)
FAR_NS = 2**62


def archive(store: FolderStore) -> None:
    """Do as an archiver that starts: go on from where the lake ends, with segments of its own choice."""
    chain = Chain(store, "ticks", 0)
    at = chain.next() or 0
    records = [record for _, _, some in TICKS for record in some]
    while at < 40:
        next_ = chain.plan(at, min(40, at + 7))
        chain.commit(at, next_, [record for record in records if at <= record.offset < next_])
        at = next_


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_change_leaves_neither_gap_nor_double(tmp_path: Path, after: bool) -> None:
    records = [record for _, _, some in TICKS for record in some]
    changes = 0
    while True:
        changes += 1
        root = tmp_path / f"{changes}"
        try:
            fill(Dying(root, changes, after=after), "ticks", 0, TICKS)
        except Crash:
            if list(FolderStore(root).list("")):
                assert not verify(FolderStore(root), deep=True).faults, changes
        else:
            break
        archive(FolderStore(root))
        store = FolderStore(root)
        report = verify(store, deep=True)
        assert not report.faults, changes
        found = read_partition(store, "ticks", 0)
        assert [record for link in found.links for record in records_of(store, link.manifest)] == records
    assert changes > 30


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_in_a_compaction_loses_nothing(tmp_path: Path, after: bool) -> None:
    changes = 0
    while True:
        changes += 1
        root = tmp_path / f"{changes}"
        fill(FolderStore(root), "ticks", 0, TICKS)
        dying = Dying(root, changes, after=after)
        manifests = [link.manifest for link in read_partition(dying, "ticks", 0).links]
        try:
            compact(dying, "ticks", 0, manifests, FAR_NS)
        except Crash:
            assert not verify(FolderStore(root), deep=True).faults, changes
        else:
            break
        store = FolderStore(root)
        compact(store, "ticks", 0, manifests, FAR_NS)
        assert not verify(store, deep=True).faults, changes
        records = [record for _, _, some in TICKS for record in some]
        assert [record for manifest in manifests for record in records_of(store, manifest)] == records
    assert changes > 20


def test_a_compaction_leaves_one_file_for_each_hour_kind_and_partition(tmp_path: Path) -> None:
    store = small_lake(tmp_path)
    before = verify(store)
    for topic, partition in (("ticks", 0), ("ticks", 3), ("control", 0), ("journal", 1)):
        manifests = [link.manifest for link in read_partition(store, topic, partition).links]
        compact(store, topic, partition, manifests, FAR_NS)
        assert compact(store, topic, partition, manifests, FAR_NS).files == 0
    report = verify(store, deep=True)
    assert not report.faults
    assert report.files < before.files
    names = [listed.key.rsplit("-", 1)[0] for listed in store.list("") if listed.key.endswith(".parquet")]
    assert len(names) == len(set(names)) == report.files


def test_later_segments_are_merged_with_what_was_merged(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for some in (TICKS[:2], TICKS[2:]):
        fill(store, "ticks", 0, some)
        manifests = [link.manifest for link in read_partition(store, "ticks", 0).links]
        assert compact(store, "ticks", 0, manifests, FAR_NS).merges
    assert not verify(store, deep=True).faults


def test_an_hour_that_is_not_over_is_left(tmp_path: Path) -> None:
    store = small_lake(tmp_path)
    manifests = [link.manifest for link in read_partition(store, "ticks", 0).links]
    assert compact(store, "ticks", 0, manifests, 0).files == 0


def test_a_second_archiver_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first, second = Chain(store, "ticks", 0), Chain(store, "ticks", 0)
    assert first.next() is second.next() is None
    start, next_, records = TICKS[0]
    first.plan(start, next_)
    assert second.plan(start, next_ + 5) == next_
    first.commit(start, next_, records)
    second.commit(start, next_, records)  # the same segment: nothing is lost or doubled
    with pytest.raises(StoreError, match="is there already; another archiver"):
        second.plan(start, 5)
    with pytest.raises(StoreError, match="another segment than this; another archiver"):
        Chain(store, "ticks", 0).commit(start, next_, records[1:])


def test_a_segment_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    chain = Chain(FolderStore(tmp_path), "ticks", 0)
    chain.commit(0, 10, TICKS[0][2])
    with pytest.raises(ValueError, match="does not follow 10"):
        chain.commit(20, 30, TICKS[2][2])
    with pytest.raises(ValueError, match="lie outside"):
        chain.commit(10, 20, TICKS[2][2])


def test_a_segment_of_marks_alone_has_no_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    manifest = Chain(store, "ticks", 0).commit(5, 9, [])
    assert (manifest.rows, manifest.files) == (0, ())
    assert list(records_of(store, manifest)) == []
    assert Chain(store, "ticks", 0).next() == 9


def test_a_head_that_names_what_is_not_there_is_told(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    fill(store, "ticks", 0, TICKS)
    newest = "manifests/ticks/0000/00000000000000000030.json"
    data = store.get(newest) or b""
    store.put(newest, data.replace(b'"rows":9', b'"rows":8'))
    with pytest.raises(StoreError, match="is not what the head names"):
        Chain(store, "ticks", 0).next()
    store.delete(newest)
    with pytest.raises(StoreError, match="is missing, and the head names it"):
        Chain(store, "ticks", 0).next()
