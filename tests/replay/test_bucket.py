"""An archive in a bucket: the same rows as in a folder, fetched once, in part, and by a network that fails."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.frame import Frame
from connectors import s3
from connectors.archive import write
from connectors.cache import Mirror
from connectors.policy import Policy
from connectors.ranges import lacking, merged
from connectors.s3 import S3Store
from connectors.store import open_store
from replay.ahead import AHEAD_FILES, ahead
from replay.files import EVERYTHING, find_files
from replay.listing import ALWAYS
from replay.run import Run, Settings
from replay.sources import open_archive
from schemas.base import NS_PER_DAY, NS_PER_S
from schemas.errors import ArchiveError, StoreError
from tests.connectors.lake.lakes import small_lake
from tests.faultproxy import Fault, FaultProxy
from tests.replay.archives import BTC, DAY, ETH, Row, bar, book, sequence, table

HOUR = NS_PER_DAY // 24


def trade(number: int, at: int, key: str = BTC) -> Row:
    return (key, number, at, at, 100.0 + number % 7, 1.0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two days of bars and of hourly trades, and a tweet a day."""
    root = tmp_path / "archive"
    for day in range(2):
        bars = [bar(key, minute, 100.0 + minute % 13, day) for minute in range(0, 1380, 10) for key in (BTC, ETH)]
        write(root, "bars", table("bars", bars), f"bars-{day}")
        trades = [trade(day * 800 + n, DAY + day * NS_PER_DAY + n * 97 * NS_PER_S) for n in range(800)]
        write(root, "trades", table("trades", trades), f"trades-{day}")
        at = DAY + day * NS_PER_DAY + HOUR
        tweets = [(f"t{day}", "BTC", at, at, "ann", "To the moon, good and great", 5, 1, False, "")]
        write(root, "tweets", table("tweets", tweets), f"tweets-{day}")
    return root


@pytest.fixture
def proxy(s3_lake: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setattr(s3, "PAUSE_S", 0.001)
    with FaultProxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


def upload(folder: Path, where: str) -> str:
    store = S3Store(where, Policy())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return where


def fetched(proxy: FaultProxy) -> list[str]:
    """Give the keys of which data was asked, one entry a request; those of the listings are left out."""
    found = [each.path for each in proxy.requests if each.method == "GET" and "list-type" not in each.path]
    proxy.requests.clear()
    return found


def replayed(archive: Path | str, out: Path) -> dict[str, object]:
    run = Run(book(BTC, ETH), Settings(archive=archive, out=out, report=False))
    summary = run.run(lambda _: None)
    inputs = [{"kind": each.kind, "sha256": each.sha256, "bytes": each.bytes} for each in run._source.inputs()]
    return {"log": summary.log_sha256, "inputs": inputs, "rows": summary.run["market_events"]}


def frames(archive: Path | str, *span: int) -> list[Frame]:
    return list(open_archive(archive, book(BTC, ETH), *span).frames())


def test_a_replay_from_a_bucket_is_that_from_the_folder_and_fetches_once(
    folder: Path, s3_lake: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    where = upload(folder, s3_lake)
    local = replayed(folder, tmp_path / "local")
    assert local["rows"] == 2 * (2 * 138 + 800)
    proxy.requests.clear()
    assert replayed(where, tmp_path / "cold") == local
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(fetched(proxy)) == len(files)
    assert replayed(where, tmp_path / "warm") == local
    assert fetched(proxy) == []


def test_a_lake_is_read_by_its_raw_layer(folder: Path, s3_lake: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    folder.rename(lake / "raw")
    path = next(lake.rglob("ticks/**/*.parquet"))
    (path.parent / "_refused-0000-1.parquet").write_bytes(b"no event of ours")
    rows = pq.read_table(path)
    pq.write_table(rows.append_column("offset", pa.array(range(len(rows)), pa.int64())), path)
    (lake / "manifests" / "ticks").mkdir(parents=True)
    (lake / "raw" / "orders").mkdir()
    (lake / "raw" / "orders" / "orders-1.parquet").write_bytes(b"")
    local = replayed(lake, tmp_path / "local")
    assert local["rows"] == 2 * (2 * 138 + 800)
    assert replayed(upload(lake, s3_lake), tmp_path / "remote") == local


def test_a_lake_is_read_as_its_archiver_wrote_it(s3_lake: str, tmp_path: Path) -> None:
    store = small_lake(tmp_path / "lake")
    upload(tmp_path / "lake", s3_lake)
    taken = book("BTC/USDT@binance")
    local, remote = open_archive(Path(store.where), taken), open_archive(s3_lake, taken)
    rows = sequence(local)
    assert len(rows) == 40  # 5 segments of 8 events; those of the other partition are the same once more
    assert sequence(remote) == rows
    assert [each.sha256 for each in remote.inputs()] == [each.sha256 for each in local.inputs()]
    assert {Path(file.name).name.split("-")[0] for file in remote.files} == {"trades", "quotes", "control"}


def test_only_the_folders_of_the_time_asked_for_are_listed(s3_lake: str, proxy: FaultProxy) -> None:
    store = S3Store(s3_lake, Policy())
    for year in range(2010, 2020):
        for month in (3, 7):
            for day in (1, 9):
                store.put(f"bars/year={year}/month={month:02}/day={day:02}/bars-1.parquet", b"")
    proxy.requests.clear()
    july = DAY - 13 * NS_PER_DAY  # DAY is the 14th
    found = find_files(s3_lake, july, july + 31 * NS_PER_DAY)
    assert [file.name for file in found] == [
        f"bars/year=2017/month=07/day={day}/bars-1.parquet" for day in ("01", "09")
    ]
    assert len(proxy.requests) == 4  # the root, the years, the months of one, all of July
    assert len(find_files(s3_lake, *ALWAYS)) == 40
    found = find_files(s3_lake, july + 8 * NS_PER_DAY, july + 9 * NS_PER_DAY)
    assert [file.lo for file in found] == [july + 8 * NS_PER_DAY]


def test_of_a_large_file_only_the_wanted_groups_and_columns_are_fetched(
    s3_lake: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.cache.SMALL_BYTES", 1000)
    monkeypatch.setattr("connectors.ranges.GAP_BYTES", 100)
    monkeypatch.setattr("replay.files.WHOLE_BYTES", 10_000)
    monkeypatch.setattr("replay.reading.WHOLE_BYTES", 10_000)
    monkeypatch.setattr("replay.sources.WHOLE_BYTES", 10_000)
    chance = random.Random(3)
    rows = [(BTC, n, at, at, chance.random() + 1, chance.random() + 1, 1) for n in range(40_000) if (at := DAY + n)]
    path = tmp_path / "archive" / "ticks" / "year=2017" / "month=07" / "trades-1.parquet"
    path.parent.mkdir(parents=True)
    wide = table("trades", rows).append_column("value", pa.array([chance.randbytes(50) for _ in rows]))
    pq.write_table(wide, path, row_group_size=4000, compression="none")
    where = upload(tmp_path / "archive", s3_lake)
    proxy.requests.clear()
    span = DAY + 20_000, DAY + 24_000
    archive = open_archive(where, book(BTC), *span)
    assert sum(map(len, archive.frames())) == 4000
    asked = [each for each in proxy.requests if each.ranged]
    sizes = [int(hi) - int(lo) + 1 for each in asked for lo, hi in re.findall(r"bytes=(\d+)-(\d+)", each.ranged)]
    assert sum(sizes) < path.stat().st_size / 8
    proxy.requests.clear()
    assert archive.inputs() == [
        type(each)(**{name: getattr(each, name) for name in each.__struct_fields__} | {"path": where})
        for each in open_archive(tmp_path / "archive", book(BTC), *span).inputs()
    ]
    assert [each.method for each in proxy.requests] == ["HEAD"]
    proxy.requests.clear()
    open_archive(where, book(BTC), *span).inputs()
    assert [each.method for each in proxy.requests if "list-type" not in each.path] == []
    whole = open_archive(where, book(BTC))
    assert sum(map(len, whole.frames())) == 40_000


def test_a_single_object_is_an_archive(folder: Path, s3_lake: str, tmp_path: Path) -> None:
    path = next(folder.rglob("bars-*.parquet"))
    open_store(s3_lake).put("one.parquet", path.read_bytes())
    open_store(s3_lake).put("empty.csv.gz", b"")
    assert sum(map(len, frames(f"{s3_lake}/one.parquet"))) == sum(map(len, frames(path)))
    with pytest.raises(ArchiveError, match=r"lake/two\.parquet: there is no such object"):
        frames(f"{s3_lake}/two.parquet")
    with pytest.raises(ArchiveError, match=r"s3://.*/lake/empty\.csv\.gz: "):
        frames(f"{s3_lake}/empty.csv.gz")


def test_an_object_that_cannot_be_read_is_named_by_its_address(folder: Path, s3_lake: str) -> None:
    where = upload(folder, s3_lake)
    name = next(folder.rglob("bars-*.parquet")).relative_to(folder).as_posix()
    open_store(where).put(name, b"PAR1 but not for long PAR1")
    with pytest.raises(ArchiveError, match=f"{where}/{re.escape(name)}: cannot be read as parquet"):
        frames(where)


def test_a_bucket_that_holds_no_archive_is_refused(s3_lake: str) -> None:
    with pytest.raises(ArchiveError, match="holds none of the folders of an archive"):
        frames(s3_lake)
    with pytest.raises(StoreError, match="no such bucket"):
        frames("s3://there-is-none/at-all")


def test_the_next_files_are_fetched_while_one_is_read(folder: Path, s3_lake: str, proxy: FaultProxy) -> None:
    files = find_files(upload(folder, s3_lake), *ALWAYS)
    reading = ahead(files, EVERYTHING)
    assert next(reading) is files[0]
    await_(lambda: all(file.mirror is not None and file.mirror.is_whole for file in files[: AHEAD_FILES + 1]))
    assert not any(file.mirror is not None and file.mirror.is_whole for file in files[AHEAD_FILES + 2 :])
    fetched(proxy)
    files[1].content()
    assert fetched(proxy) == []
    reading.close()


def await_(done: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 60
    while not done():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


# -- the network ------------------------------------------------------------------------------------------------------


def test_faults_change_nothing(folder: Path, s3_lake: str, proxy: FaultProxy, tmp_path: Path) -> None:
    where = upload(folder, s3_lake)
    chance = random.Random(5)
    kinds: list[Fault] = ["503", "cut", "reset", "slow"]
    proxy.fault = lambda _method, _path: chance.choice(kinds) if chance.random() < 0.2 else ""
    local = replayed(folder, tmp_path / "local")
    assert replayed(where, tmp_path / "remote") == local
    assert any(each.fault == "cut" for each in proxy.requests)


def test_a_fetch_that_is_cut_off_leaves_nothing_marked(folder: Path, s3_lake: str, proxy: FaultProxy) -> None:
    where = upload(folder, s3_lake)
    proxy.fault = lambda _method, path: "" if "list-type" in path else "cut"
    with pytest.raises(StoreError, match="cut it off 6 times"):
        frames(where)
    objects = [path for path in Path(os.environ["QUORUM_CACHE_DIR"]).rglob("objects/*/*") if not path.suffix]
    assert objects == []
    proxy.fault = lambda _method, _path: ""
    assert sum(map(len, frames(where))) == sum(map(len, frames(folder)))


def test_an_object_written_anew_while_it_is_read_is_told(folder: Path, s3_lake: str) -> None:
    where = upload(folder, s3_lake)
    found = find_files(where, *ALWAYS)
    open_store(where).put(found[0].name, b"another")
    with pytest.raises(StoreError, match="written anew"):
        found[0].content()
    assert find_files(where, *ALWAYS)[0].content() == b"another"


# -- the cache --------------------------------------------------------------------------------------------------------


def held(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("objects/*/*") if path.is_file())


def test_the_bound_holds_and_the_least_used_go_first(s3_lake: str, tmp_path: Path, proxy: FaultProxy) -> None:
    store = S3Store(s3_lake, Policy())
    for n in range(40):
        store.put(f"{n:02}", random.Random(n).randbytes(40_000))
    bound = 500_000
    mirror = Mirror(store, tmp_path / "small", bound)
    listed = list(store.list(""))
    proxy.requests.clear()
    for n, each in enumerate(listed):
        for one in (each, listed[0]):
            with mirror.object(one).opened() as opened:
                opened.need([(0, 1)])
                assert opened.path.read_bytes() == random.Random(int(one.key)).randbytes(40_000)
        assert held(tmp_path / "small") <= bound, n
    assert held(tmp_path / "small") > bound / 2
    assert len(fetched(proxy)) == 40


def test_what_is_removed_while_it_is_read_is_read_to_its_end(s3_lake: str, tmp_path: Path) -> None:
    store = S3Store(s3_lake, Policy())
    data = random.Random(1).randbytes(3 << 20)
    store.put("large", data)
    [listed] = store.list("")
    mirror = Mirror(store, tmp_path / "small", 10 << 20)
    with mirror.object(listed).opened() as opened:
        opened.need([(0, 1000)])
        for path in (tmp_path / "small").rglob("objects/*/*"):
            path.unlink()
        with opened.path.open("rb") as file:
            opened.need([(2_000_000, 2_500_000)])
            assert file.read(1000) == data[:1000]
            file.seek(2_000_000)
            assert file.read(500_000) == data[2_000_000:2_500_000]
    with mirror.object(listed).opened() as opened:
        opened.need([(0, len(data))])
        assert opened.path.read_bytes() == data


def test_wherever_a_fetch_breaks_off_what_is_marked_is_there(
    s3_lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.cache.PIECE_BYTES", 300_000)
    store = S3Store(s3_lake, Policy())
    data = random.Random(2).randbytes(2_000_000)
    store.put("large", data)
    [listed] = store.list("")
    read = store.read
    for broken in range(7):
        mirror = Mirror(store, tmp_path / f"cache-{broken}")

        def failing(key: str, start: int, size: int, tag: str = "", broken: int = broken) -> bytes:
            if start == broken * 300_000:
                raise StoreError("cut off")
            return read(key, start, size, tag)

        monkeypatch.setattr(store, "read", failing)
        with mirror.object(listed).opened() as opened:
            opened.need([(1_999_000, 2_000_000)])
            with pytest.raises(StoreError, match="cut off"):
                opened.need([(0, 2_000_000)])
        monkeypatch.setattr(store, "read", read)
        with mirror.object(listed).opened() as opened:
            opened.need([(100_000, 1_900_000)])
            opened.need([(0, 2_000_000)])
            assert opened.path.read_bytes() == data
        assert mirror.object(listed).is_whole


def test_more_than_the_cache_may_hold_is_told(s3_lake: str, tmp_path: Path) -> None:
    store = S3Store(s3_lake, Policy())
    store.put("large", bytes(300_000))
    [listed] = store.list("")
    with (
        pytest.raises(StoreError, match=r"300,000 bytes are needed at once.*set QUORUM_CACHE_GB higher"),
        Mirror(store, tmp_path / "small", 200_000).object(listed).opened() as opened,
    ):
        opened.need([(0, 1)])


@pytest.mark.parametrize("told", ["-1", "ten", "nan"])
def test_a_bound_that_is_none_is_refused(s3_lake: str, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("QUORUM_CACHE_GB", told)
    with pytest.raises(StoreError, match=f"QUORUM_CACHE_GB is '{told}'"):
        find_files(s3_lake, *ALWAYS)


READER = """
import sys
from replay.ahead import AHEAD_FILES, ahead
from replay.files import EVERYTHING, find_files
from replay.listing import ALWAYS
for file in find_files(sys.argv[1], *ALWAYS):
    print(file.name, __import__("hashlib").sha256(file.content()).hexdigest(), flush=True)
"""


def test_two_processes_share_a_cache_and_one_is_killed(folder: Path, s3_lake: str, proxy: FaultProxy) -> None:
    where = upload(folder, s3_lake)
    command = [sys.executable, "-c", READER, where]
    proxy.fault = lambda _method, path: "slow" if re.search("hour%3D0[12]", path) else ""
    killed = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()
    killed.communicate()
    while fetched(proxy):
        time.sleep(0.3)  # what it had sent is still on its way
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = (each.communicate()[0] for each in both)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert one == other
    assert len(one.splitlines()) == len(files)
    assert len(fetched(proxy)) <= len(files)
    assert {line.split()[0] for line in one.splitlines()} == {path.relative_to(folder).as_posix() for path in files}


def test_ranges_are_joined_and_what_lacks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.ranges.GAP_BYTES", 2)
    chance = random.Random(11)
    for _ in range(500):
        wanted, there = (
            [(lo, lo + chance.randrange(1, 9)) for lo in chance.sample(range(60), chance.randrange(6))]
            for _ in range(2)
        )
        missing = lacking(wanted, merged(there))
        have = {n for lo, hi in there for n in range(lo, hi)}
        brought = {n for lo, hi in missing for n in range(lo, hi)}
        assert {n for lo, hi in wanted for n in range(lo, hi)} - have <= brought
        assert brought.isdisjoint(have)
        assert len(brought) == sum(hi - lo for lo, hi in missing)
