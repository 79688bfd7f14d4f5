"""One contract for a folder and a bucket, and what a bucket does when its network does not behave."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connectors import s3
from connectors.policy import Policy, apply_policy, load_policy
from connectors.s3 import S3Store
from connectors.store import FolderStore, Store, open_store
from schemas.errors import StoreError
from tests.conftest import s3_client
from tests.faultproxy import Fault, FaultProxy

DATA = bytes(range(256)) * 400


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "lake") if request.param == "folder" else request.getfixturevalue("s3_lake"))


@pytest.fixture
def proxy(s3_lake: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that stores made in the test go through; pauses between attempts are short."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setattr(s3, "PAUSE_S", 0.001)
    with FaultProxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


def test_what_is_put_is_what_is_got(store: Store) -> None:
    assert store.get("a/b") is None
    for data in (b"", b"one", DATA):
        store.put("a/b", data)
        assert store.get("a/b") == data


def test_a_part_is_read_and_no_more_than_there_is(store: Store) -> None:
    store.put("a", b"0123456789")
    assert store.read("a", 0, 10) == b"0123456789"
    assert store.read("a", 3, 4) == b"3456"
    assert store.read("a", 8, 10) == b"89"
    assert store.read("a", 3, 0) == b""
    assert store.read("a", 10, 5) == b""


def test_a_part_of_nothing_is_an_error(store: Store) -> None:
    store.put("b", b"")
    with pytest.raises(StoreError, match="/a: "):
        store.read("a", 0, 1)


def test_only_the_first_creates(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert not store.create("a", b"first")
    assert store.get("a") == b"first"


def test_of_many_that_create_at_once_one_does(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: store.create("a", b"%d" % n), range(16)))
    assert made.count(True) == 1
    assert store.get("a") == b"%d" % made.index(True)


def test_a_list_is_sorted_and_begins_behind_a_key(store: Store) -> None:
    keys = ["a/b/1", "a/b/10", "a/b/2", "a/b-", "a/c", "a/é", "b"]
    for key in reversed(keys):
        store.put(key, key.encode())
    ordered = sorted(keys, key=str.encode)
    assert [each.key for each in store.list("")] == ordered
    assert [each.key for each in store.list("a/b")] == [key for key in ordered if key.startswith("a/b")]
    assert [each.key for each in store.list("a/b/")] == ["a/b/1", "a/b/10", "a/b/2"]
    assert [each.key for each in store.list("a/b/", "a/b/1")] == ["a/b/10", "a/b/2"]
    assert [each.key for each in store.list("a/", "a/c")] == ["a/é"]
    assert list(store.list("c")) == []
    assert [each.size for each in store.list("a/b/")] == [5, 6, 5]


def test_a_tag_changes_with_the_content(store: Store) -> None:
    store.put("a", b"one")
    [before] = store.list("a")
    store.put("a", b"three")
    [after] = store.list("a")
    assert before.tag != after.tag


def test_folders_are_what_holds_more(store: Store) -> None:
    for key in ("raw/b/x", "raw/a/y/z", "raw/c", "raw/é/1"):
        store.put(key, b"1")
    assert store.folders("raw/") == ["a", "b", "é"]
    assert store.folders("raw/c/") == []
    assert store.folders("none/") == []
    names, objects = store.level("raw/")
    assert names == ["a", "b", "é"]
    assert [each.key for each in objects] == ["raw/c"]
    assert store.level("") == (["raw"], [])


def test_what_is_deleted_is_gone(store: Store) -> None:
    store.put("a", b"1")
    store.delete("a")
    store.delete("a")
    assert store.get("a") is None
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", ["", "/a", "a/../b", "../a", "a/./b", "a//b", "a/"])
def test_a_key_that_leads_elsewhere_is_refused(store: Store, key: str) -> None:
    for call in (store.get, store.delete, lambda key: store.put(key, b""), lambda key: store.create(key, b"")):
        with pytest.raises(StoreError, match="no key"):
            call(key)


def test_a_list_of_more_than_a_page_is_whole(s3_lake: str) -> None:
    store = open_store(s3_lake)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.put(f"a/{n:04}/x", b""), range(1050)))
    assert [each.key for each in store.list("a/")] == [f"a/{n:04}/x" for n in range(1050)]
    assert store.folders("a/") == [f"{n:04}" for n in range(1050)]


def test_two_prefixes_of_a_bucket_are_two_stores(s3_lake: str) -> None:
    one, other = open_store(s3_lake), open_store(f"{s3_lake}-2/")
    one.put("a", b"1")
    assert other.get("a") is None
    assert list(other.list("")) == []
    assert other.where == f"{s3_lake}-2"


@pytest.mark.parametrize(
    "where", ["s3://", "s3://a/b//c", "s3://key:secret@bucket/a", "s3://bucket/../a", "s3://b ü/a"]
)
def test_an_address_that_is_none_is_refused_and_not_repeated(where: str) -> None:
    with pytest.raises(StoreError, match="written s3://BUCKET or") as refused:
        open_store(where)
    assert "secret" not in str(refused.value)


def test_an_object_is_encrypted_and_its_digest_kept(s3_lake: str, s3_server: str) -> None:
    store = S3Store(s3_lake)
    store.put("a", DATA)
    assert store.create("b", DATA)
    for key in ("lake/a", "lake/b"):
        told = s3_client(s3_server).head_object(Bucket=store.bucket, Key=key)
        assert told["ServerSideEncryption"] == "AES256"
    [listed] = store.list("a")
    assert store.sha256("a", listed.tag) == hashlib.sha256(DATA).hexdigest()
    s3_client(s3_server).put_object(Bucket=store.bucket, Key="lake/foreign", Body=DATA)
    [foreign] = store.list("foreign")
    assert store.sha256("foreign", foreign.tag) is None


def test_a_part_of_an_object_written_anew_is_an_error(s3_lake: str) -> None:
    store = S3Store(s3_lake)
    store.put("a", b"old")
    [listed] = store.list("a")
    assert store.read("a", 0, 3, listed.tag) == b"old"
    store.put("a", b"new")
    with pytest.raises(StoreError, match="written anew"):
        store.read("a", 0, 3, listed.tag)


# -- the policy -------------------------------------------------------------------------------------------------------


def test_a_lake_without_a_policy_has_the_default(store: Store) -> None:
    assert load_policy(store) == Policy()


def test_a_policy_is_kept_in_the_lake(s3_lake: str, tmp_path: Path) -> None:
    policy = Policy(retain_days={"fills": 10}, tier_after_days=90)
    for where in (s3_lake, str(tmp_path / "lake")):
        apply_policy(where, policy)
        assert load_policy(open_store(where)) == policy


def test_a_policy_that_cannot_be_read_is_an_error(store: Store) -> None:
    store.put("lake.json", b'{"encrypted": false}')
    with pytest.raises(StoreError, match="unknown field `encrypted`"):
        load_policy(store)


def test_the_lifecycle_leaves_rules_of_others(s3_lake: str, s3_server: str) -> None:
    client, bucket = s3_client(s3_server), s3_lake.split("/")[2]
    theirs = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 1}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})
    for days in (30, 60):
        apply_policy(s3_lake, Policy(tier_after_days=days))
    rules = {rule["ID"]: rule for rule in client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules.keys() == {"theirs", "quorum:lake/"}
    assert rules["quorum:lake/"]["Filter"] == {"Prefix": "lake/"}
    assert rules["quorum:lake/"]["Transitions"] == [{"Days": 60, "StorageClass": "INTELLIGENT_TIERING"}]
    apply_policy(s3_lake, Policy(tier_after_days=0))
    assert [rule["ID"] for rule in client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]] == ["theirs"]


def test_a_kms_key_encrypts_what_is_put(s3_lake: str, s3_server: str) -> None:
    apply_policy(s3_lake, Policy(encryption="aws:kms", kms_key="key-1"))
    store = S3Store(s3_lake)
    store.put("a", b"1")
    told = s3_client(s3_server).head_object(Bucket=store.bucket, Key="lake/a")
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"]) == ("aws:kms", "key-1")


def test_a_lock_needs_a_bucket_that_has_one(s3_lake: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no Object Lock"):
        apply_policy(s3_lake, Policy(lock="governance"))
    assert load_policy(open_store(s3_lake)) == Policy()
    with pytest.raises(StoreError, match="a folder has no Object Lock"):
        apply_policy(str(tmp_path / "lake"), Policy(lock="governance"))


def test_what_must_be_kept_is_locked(s3_lake: str, s3_server: str) -> None:
    client = s3_client(s3_server)
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    apply_policy("s3://locked/lake", Policy(lock="governance", retain_days={"fills": 100, "journal": 5}))
    store = open_store("s3://locked/lake")
    kept = ["raw/fills/year=2020/x.parquet", "manifests/fills/0000/1.json", "journal/b/x.parquet"]
    free = ["raw/ticks/year=2020/x.parquet", "manifests/fills/0000/1.plan", "manifests/fills/0000/head"]
    for key in kept + free:
        store.put(key, b"1")
    locked = {key: client.head_object(Bucket="locked", Key=f"lake/{key}").get("ObjectLockMode") for key in kept + free}
    assert locked == dict.fromkeys(kept, "GOVERNANCE") | dict.fromkeys(free)
    told = client.head_object(Bucket="locked", Key=f"lake/{kept[0]}")
    assert round((told["ObjectLockRetainUntilDate"] - told["LastModified"]).total_seconds() / 86_400) == 100


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_named(s3_lake: str) -> None:
    store = open_store("s3://no-such-bucket-here/lake")
    for call in (lambda: store.get("a"), lambda: list(store.list("")), lambda: store.level("")):
        with pytest.raises(StoreError, match=r"s3://no-such-bucket-here/lake.*there is no such bucket; make it"):
            call()


def test_credentials_that_are_not_there_are_asked_for(s3_lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="no credentials found; set AWS_ACCESS_KEY_ID"):
        open_store(s3_lake).get("a")


def test_an_endpoint_that_does_not_answer_is_named_without_secrets(
    s3_lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.001)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hush@127.0.0.1:1")
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:1 cannot be reached; check the network") as failed:
        open_store(s3_lake).get("a")
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", "access is denied"),
        (403, "InvalidAccessKeyId", "the access key is not known"),
        (403, "SignatureDoesNotMatch", "the signature is refused"),
        (400, "ExpiredToken", "sign in again"),
        (400, "SomethingNew", "refused by the service: SomethingNew no$"),
    ],
)
def test_a_refusal_says_what_to_do(
    proxy: FaultProxy, s3_lake: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, sentence: str
) -> None:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    monkeypatch.setattr(proxy, "ask", lambda *_: (status, [("Content-Type", "application/xml")], body))
    with pytest.raises(StoreError, match=sentence):
        open_store(s3_lake).get("a")


# -- faults of the network --------------------------------------------------------------------------------------------


def turns(*faults: Fault) -> Callable[[str, str], Fault]:
    """Give faults one after the other, then none."""
    left = iter(faults)
    return lambda _method, _path: next(left, "")


@pytest.mark.parametrize("fault", ["503", "slow", "cut", "reset", "lost"])
def test_a_fault_or_two_are_overcome(proxy: FaultProxy, s3_lake: str, fault: Fault) -> None:
    store = S3Store(s3_lake, Policy())
    for call, expected in (
        (lambda: store.put("a", DATA), None),
        (lambda: store.get("a"), DATA),
        (lambda: store.read("a", 1000, 50_000), DATA[1000:51_000]),
        (lambda: store.create("b", DATA), True),
        (lambda: [each.key for each in store.list("")], ["a", "b"]),
        (lambda: store.delete("a"), None),
        (lambda: store.get("a"), None),
    ):
        proxy.fault = turns(fault, fault)
        assert call() == expected
    assert [each.fault for each in proxy.requests].count(fault) >= 7


def test_an_object_that_was_created_though_the_answer_was_lost_counts_as_created(
    proxy: FaultProxy, s3_lake: str
) -> None:
    store = S3Store(s3_lake, Policy())
    proxy.fault = turns("lost")
    assert store.create("a", b"mine")
    proxy.fault = turns("lost")
    assert not store.create("a", b"theirs")
    assert store.get("a") == b"mine"


@pytest.mark.parametrize("fault", ["503", "cut", "reset"])
def test_a_network_that_stays_broken_is_an_error_and_nothing_half(
    proxy: FaultProxy, s3_lake: str, fault: Fault
) -> None:
    store = S3Store(s3_lake, Policy())
    store.put("a", DATA)
    proxy.fault = lambda _method, _path: fault
    with pytest.raises(StoreError, match="try again later"):
        store.get("a")
    if fault != "cut":
        with pytest.raises(StoreError, match="try again later"):
            store.put("b", DATA)
        proxy.fault = lambda _method, _path: ""
        assert store.get("b") is None


def test_under_faults_of_all_kinds_nothing_is_lost_or_half_written(proxy: FaultProxy, s3_lake: str) -> None:
    store = S3Store(s3_lake, Policy())
    chance = random.Random(7)
    kinds: list[Fault] = ["503", "cut", "reset", "lost", "slow"]
    proxy.fault = lambda _method, _path: chance.choice(kinds) if chance.random() < 0.25 else ""
    put = {f"p/{n:03}": chance.randbytes(chance.randrange(40_000)) for n in range(60)}
    for key, data in put.items():
        for attempt in itertools.count():
            try:
                assert store.create(key, data) or attempt
                break
            except StoreError:
                assert attempt < 5
    proxy.fault = lambda _method, _path: ""
    assert {each.key: store.get(each.key) for each in store.list("p/")} == put


def test_a_folder_leaves_nothing_behind_where_it_cannot_write(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "lake")
    store.put("a", b"1")
    with pytest.raises(StoreError, match="cannot be written"):
        store.put("a/b", b"1")
    assert [path.name for path in (tmp_path / "lake").rglob("*")] == ["a"]
