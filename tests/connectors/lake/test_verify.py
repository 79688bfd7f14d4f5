"""Whatever is done to a lake behind its archiver's back, `verify` names the segment that it was done to."""

from __future__ import annotations

import random
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.lake.chains import partitions_of, read_partition
from connectors.lake.compact import compact
from connectors.lake.links import Head, encode
from connectors.lake.verify import verify
from connectors.store import FolderStore
from schemas.errors import StoreError
from tests.connectors.lake.lakes import everything, fill, segments, small_lake

TAMPERINGS = 1_000
Tampering = Callable[[random.Random, FolderStore, list[str]], str]


def flip(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    """Change one bit; give the key."""
    key = rng.choice(keys)
    data = bytearray(store.get(key) or b"")
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    store.put(key, bytes(data))
    return key


def drop(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    key = rng.choice(keys)
    store.delete(key)
    return key


def truncate(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    key = rng.choice(keys)
    data = store.get(key) or b""
    store.put(key, data[: rng.randrange(len(data))])
    return key


def swap(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    one, other = rng.sample(keys, 2)
    first, second = store.get(one) or b"", store.get(other) or b""
    store.put(one, second)
    store.put(other, first)
    return one


def add(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    """Put a copy of a file beside it."""
    key = rng.choice(keys)
    other = re.sub(r"\d{20}", lambda found: f"{int(found[0]) + 3:020d}", key)
    store.put(other, store.get(key) or b"")
    return other


def drop_segment(rng: random.Random, store: FolderStore, keys: list[str]) -> str:
    """Remove a segment whole: its manifest and its files."""
    key = rng.choice([key for key in keys if key.endswith(".json") and "compactions" not in key])
    topic, partition, first = key.split("/")[1:]
    for each in keys:
        mine = f"-{partition}-{first.removesuffix('.json')}" in each and (
            each.startswith(f"raw/{topic}/") or (topic == "journal" and each.startswith("journal/"))
        )
        if mine:
            store.delete(each)
    store.delete(key)
    return key


TAMPER: list[Tampering] = [flip, drop, truncate, swap, add, drop_segment]


def place_of(key: str) -> tuple[str, str | None]:
    """Give topic/partition and first offset of what a key belongs to."""
    if key.startswith("manifests/"):
        _, topic, partition, rest = key.split("/", 3)
        first = re.match(r"(\d{20})\.", rest)
        return f"{topic}/{int(partition)}", first and f"[{int(first[1]):,}, "
    topic = "journal" if key.startswith("journal/") else key.split("/")[1]
    found = re.search(r"-(\d{4})-(\d{20})(\.c\d+)?\.parquet$", key)
    assert found
    return f"{topic}/{int(found[1])}", f"[{int(found[2]):,}, "


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    small_lake(root)
    return root


@pytest.mark.parametrize("compacted", [False, True])
def test_each_of_a_thousand_tamperings_is_named(lake: Path, tmp_path: Path, compacted: bool) -> None:
    source = tmp_path / "source"
    shutil.copytree(lake, source)
    store = FolderStore(source)
    if compacted:
        for topic, partition in partitions_of(store):
            manifests = [link.manifest for link in read_partition(store, topic, partition).links]
            compact(store, topic, partition, manifests, 2**62)
    assert not verify(store, deep=True).faults
    keys = [listed.key for listed in everything(store)]
    original = {key: store.get(key) or b"" for key in keys}
    for seed in range(TAMPERINGS // 2):
        rng = random.Random(seed)
        way = TAMPER[seed % len(TAMPER)]
        key = way(rng, store, keys)
        changed = {listed.key for listed in everything(store)} ^ set(keys)
        changed |= {each for each in keys if store.get(each) not in {None, original[each]}}
        if changed:  # a swap of two equal objects is none
            found = [str(fault) for fault in verify(store).faults]
            name, first = place_of(key)
            named = [fault for fault in found if fault.startswith(name)]
            assert named, (seed, way.__name__, key, found)
            exact = [fault for fault in named if not first or first in fault or "[…, " in fault]
            assert exact or way == swap, (seed, way.__name__, key, found)
        for each in changed:
            if each in original:
                (source / each).write_bytes(original[each])
            else:
                store.delete(each)
    assert not verify(store).faults


def test_an_untouched_lake_passes_and_tells_its_heads(lake: Path) -> None:
    report = verify(FolderStore(lake), deep=True)
    assert report.faults == []
    assert (report.segments, report.rows) == (13, 117)
    assert set(report.heads) == {"ticks/0", "ticks/3", "control/0", "journal/1"}
    assert not verify(FolderStore(lake), heads=report.heads).faults


def test_an_end_cut_off_with_the_head_is_seen_by_a_head_kept_elsewhere(lake: Path, tmp_path: Path) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    store = FolderStore(tmp_path / "lake")
    heads = verify(store).heads
    drop_newest(store)
    assert not verify(store, deep=True).faults  # a chain alone cannot show it
    faults = verify(store, heads=heads).faults
    assert [fault.segment for fault in faults] == ["ticks/0"]
    assert "cut off or rewritten" in faults[0].reason


def drop_newest(store: FolderStore) -> None:
    """Remove the newest segment of ticks/0, and have the head name the one before it."""
    links = read_partition(store, "ticks", 0).links
    for file in links[-1].manifest.files:
        store.delete(file.name)
    folder = "manifests/ticks/0000/"
    store.delete(f"{folder}{links[-1].manifest.first:020d}.json")
    store.put(f"{folder}head", encode(Head(f"{folder}{links[-2].manifest.first:020d}.json", links[-2].sha256)))


def test_a_lake_that_is_written_and_merged_meanwhile_is_whole(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    found = segments("ticks", 40)
    fill(store, "ticks", 0, found[:1])

    def work() -> None:
        for lo in range(1, 40, 13):
            fill(store, "ticks", 0, found[lo : lo + 13])
            manifests = [link.manifest for link in read_partition(store, "ticks", 0).links]
            compact(store, "ticks", 0, manifests, 2**62)

    thread = threading.Thread(target=work)
    thread.start()
    faults = []
    while thread.is_alive():
        faults += verify(store).faults
    thread.join()
    assert faults == []
    assert verify(store, deep=True).segments == 40


def test_only_what_is_asked_for_is_looked_at(lake: Path, tmp_path: Path) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    store = FolderStore(tmp_path / "lake")
    store.delete("manifests/control/0000/head")
    assert not verify(store, topics=["ticks", "journal"]).faults
    assert [fault.segment for fault in verify(store).faults] == ["control/0 [20, 30)"]
    with pytest.raises(StoreError, match="holds nothing of topic 'trades'; it has control, journal, ticks"):
        verify(store, topics=["trades"])


def test_a_folder_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no lake: it holds no manifests"):
        verify(FolderStore(tmp_path))
