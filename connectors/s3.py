"""Objects in a bucket, on S3 or on what speaks its protocol: the same contract as a folder's.

Credentials, region and endpoint are boto3's own (`AWS_*`, `AWS_ENDPOINT_URL_S3`, profiles, roles). What the network
drops is tried again with growing pauses; what stays is a StoreError of one sentence, without a secret.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from boto3 import __version__ as boto_version
from boto3.session import Session
from botocore import exceptions as failures
from botocore.config import Config
from botocore.response import URLLib3ProtocolError, URLLib3ReadTimeoutError
from botocore.session import get_session
from botocore.utils import parse_timestamp

from connectors.policy import Policy, load_policy
from connectors.store import S3_PREFIX, Level, Listed, Names, checked
from schemas.errors import StoreError

ATTEMPTS = 6
"""Of a request, the first included, and of the reading of a body."""
PAUSE_S = 0.2
"""Before a cut body is read again; doubled each time."""
CONNECTIONS = 32
_SETTINGS = Config(
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=CONNECTIONS,
    user_agent=f"quorum Boto3/{boto_version}",  # told whole: botocore's own is made anew for each request
)
_WHERE = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/(.*))?")
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_THERE = frozenset({"PreconditionFailed", "412"})
_PAST_END = frozenset({"InvalidRange", "416"})
_CONFLICT = frozenset({"ConditionalRequestConflict", "409"})
_WHAT_TO_DO = {
    "NoSuchBucket": "there is no such bucket; make it, or name another",
    "AccessDenied": "access is denied; allow these credentials to list, read and write there",
    "403": "access is denied; allow these credentials to list, read and write there",
    "AllAccessDisabled": "access is disabled for this bucket; ask its owner",
    "InvalidAccessKeyId": "the access key is not known there; check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the signature is refused; check AWS_SECRET_ACCESS_KEY or the profile",
    "ExpiredToken": "the session's token has expired; sign in again",
    "InvalidToken": "the session's token is not valid; sign in again",
    "RequestTimeTooSkewed": "this machine's clock is off; set it",
    "PermanentRedirect": "the bucket lies in another region; set AWS_REGION",
    "301": "the bucket lies in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region; set AWS_REGION",
    "SlowDown": "the service asks for fewer requests; try again later",
    "503": "the service is not available; try again later",
    "ServiceUnavailable": "the service is not available; try again later",
    "InternalError": "the service failed; try again later",
    "500": "the service failed; try again later",
}
_FAILED: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (failures.NoCredentialsError, failures.PartialCredentialsError),
        "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role",
    ),
    ((failures.ProfileNotFound,), "the profile that AWS_PROFILE names is not configured; name another"),
    ((failures.NoRegionError,), "no region is set; set AWS_REGION"),
    (
        (failures.EndpointConnectionError, failures.ConnectTimeoutError, failures.ProxyConnectionError),
        "{endpoint} cannot be reached; check the network and AWS_ENDPOINT_URL_S3",
    ),
    ((failures.SSLError,), "{endpoint} shows no certificate that is trusted; check AWS_CA_BUNDLE"),
    ((ValueError,), "AWS_ENDPOINT_URL_S3 is no address; write http://HOST:PORT"),
)
_CUT = (
    failures.IncompleteReadError,
    failures.ResponseStreamingError,
    failures.ReadTimeoutError,
    failures.ConnectionClosedError,
    failures.FlexibleChecksumError,
    OSError,
)
"""What ends a body before its end. Botocore itself tries again only up to its beginning."""
_CUT_REFUSAL = (URLLib3ProtocolError, URLLib3ReadTimeoutError)
"""What botocore lets through where the cut body is that of a refusal."""
_TIMES: dict[str, Callable[[str], datetime]] = {"Z": datetime.fromisoformat, "T": parsedate_to_datetime}
"""By the last letter: as in listings, and as HTTP's headers have it."""
Answer = TypeVar("Answer")
Rules: TypeAlias = list[dict[str, Any]]
"""Of a bucket's lifecycle."""


class _BodyCutError(Exception):
    """A body ended before its end."""


class S3Store:
    """Objects of a bucket below a prefix. Every object is encrypted and kept as the lake's policy says."""

    def __init__(self, where: str, policy: Policy | None = None) -> None:
        """Take `s3://BUCKET` or `s3://BUCKET/PREFIX`; without a policy, that of `lake.json` there holds.

        Raises StoreError where it is none of these; nothing is read yet.
        """
        match = _WHERE.fullmatch(where)
        if match is None or "@" in where or any(part in {"", ".", ".."} for part in _parts(match[2])):
            raise StoreError("an S3 address is written s3://BUCKET or s3://BUCKET/PREFIX, without keys or options")
        self.bucket = match[1]
        inner = "/".join(_parts(match[2]))
        self.where = f"{S3_PREFIX}{self.bucket}/{inner}".rstrip("/")
        self._prefix = f"{inner}/" if inner else ""
        self._given = policy
        try:
            self._client = _session().client("s3", config=_SETTINGS)
        except (failures.BotoCoreError, ValueError) as error:
            raise StoreError(f"{self.where}: {_reason(error, '')}") from None
        self.endpoint = _endpoint(self._client.meta.endpoint_url)
        """Without what may be secret in it."""

    @cached_property
    def policy(self) -> Policy:
        """What the lake's objects are held to: read once."""
        return load_policy(self) if self._given is None else self._given

    def get(self, key: str) -> bytes | None:
        return self._body(key, {})

    def read(self, key: str, start: int, size: int, tag: str = "") -> bytes:
        """See `Store.read`; with a tag, an object that is no longer the one listed with it is a StoreError."""
        wanted = {"Range": f"bytes={start}-{start + max(size, 1) - 1}"} | ({"IfMatch": tag} if tag else {})
        data = self._body(key, wanted)
        if data is None:
            raise StoreError(f"{self.where}/{key}: there is no such object")
        return data[:size]

    def put(self, key: str, data: bytes) -> None:
        self._ask(key, lambda: self._client.put_object(**self._object(key, data)))

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`. Where an answer was lost and the object then holds `data`, it counts as written here."""
        told: list[int] = []

        def attempt() -> bool:
            try:
                self._client.put_object(**self._object(key, data), IfNoneMatch="*")
            except failures.ClientError as error:
                if _code(error) not in _THERE | _CONFLICT:
                    raise
                told.append(error.response["ResponseMetadata"].get("RetryAttempts", 0))
                return False
            return True

        if self._ask(key, attempt):
            return True
        there = self.get(key)
        if there is None:
            raise StoreError(f"{self.where}/{key}: another writer is at work on it; try again")
        return told[-1] > 0 and there == data

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        behind = {"StartAfter": self._prefix + after} if after else {}
        for page in self._pages(prefix, behind):
            yield from map(self._listed, page.get("Contents", ()))

    def folders(self, prefix: str) -> Names:
        return self.level(prefix)[0]

    def level(self, prefix: str) -> Level:
        names: list[str] = []
        objects: list[Listed] = []
        for page in self._pages(prefix, {"Delimiter": "/"}):
            names += [each["Prefix"].rstrip("/").rpartition("/")[2] for each in page.get("CommonPrefixes", ())]
            objects += map(self._listed, page.get("Contents", ()))
        return sorted(names, key=str.encode), objects

    def delete(self, key: str) -> None:
        name = self._key(key)
        self._ask(key, lambda: self._client.delete_object(Bucket=self.bucket, Key=name))

    def sha256(self, key: str, tag: str) -> str | None:
        """Give the SHA-256 that S3 itself found when the object was put; None where it keeps none."""
        name = self._key(key)
        wanted = {"Bucket": self.bucket, "Key": name, "IfMatch": tag, "ChecksumMode": "ENABLED"}
        told = self._ask(key, lambda: self._client.head_object(**wanted))
        found: str = told.get("ChecksumSHA256", "")
        if "-" in found or not found:  # of parts, not of the whole
            return None
        return b64decode(found).hex()

    def require_object_lock(self) -> None:
        """Raise StoreError unless the bucket can lock objects."""
        try:
            told = self._client.get_object_lock_configuration(Bucket=self.bucket)
            enabled = told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        except failures.ClientError as error:
            if _code(error) not in {"ObjectLockConfigurationNotFoundError", "NotImplemented", "InvalidRequest"}:
                raise self._refused("", error) from None
            enabled = False
        except failures.BotoCoreError as error:
            raise self._refused("", error) from None
        if not enabled:
            raise StoreError(
                f"{self.where}: the bucket has no Object Lock; enable it for the bucket, or leave out --lock"
            )

    def set_lifecycle(self, tier_after_days: int) -> None:
        """Make the rule by which this prefix moves to Intelligent-Tiering the bucket's; 0 days removes it."""
        name = f"quorum:{self._prefix}"
        rules = [rule for rule in self._lifecycle() if rule.get("ID") != name]
        if tier_after_days:
            rules.append({
                "ID": name,
                "Filter": {"Prefix": self._prefix},
                "Status": "Enabled",
                "Transitions": [{"Days": tier_after_days, "StorageClass": "INTELLIGENT_TIERING"}],
            })  # fmt: skip
        self._ask("", lambda: self._write_lifecycle(rules))

    def _lifecycle(self) -> Rules:
        def attempt() -> Rules:
            try:
                rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]
            except failures.ClientError as error:
                if _code(error) != "NoSuchLifecycleConfiguration":
                    raise
                return []
            return list(rules)

        return self._ask("", attempt)

    def _write_lifecycle(self, rules: Rules) -> None:
        if rules:
            configuration = {"Rules": rules}
            self._client.put_bucket_lifecycle_configuration(Bucket=self.bucket, LifecycleConfiguration=configuration)
        else:
            self._client.delete_bucket_lifecycle(Bucket=self.bucket)

    def _key(self, key: str) -> str:
        return self._prefix + checked(self.where, key)

    def _listed(self, told: dict[str, Any]) -> Listed:
        return Listed(told["Key"].removeprefix(self._prefix), told["Size"], told["ETag"])

    def _pages(self, prefix: str, more: dict[str, str]) -> Iterator[dict[str, Any]]:
        """Ask page by page, each with its own attempts."""
        wanted = {"Bucket": self.bucket, "Prefix": self._prefix + prefix, **more}
        while True:
            page = self._ask(prefix, lambda: self._client.list_objects_v2(**wanted))
            yield page
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def _object(self, key: str, data: bytes) -> dict[str, Any]:
        """Say what is put: S3 checks the digest, and keeps it."""
        policy = self.policy
        wanted: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": self._key(key),
            "Body": data,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": b64encode(sha256(data).digest()).decode(),
            "ServerSideEncryption": policy.encryption,
        }
        if policy.kms_key:
            wanted["SSEKMSKeyId"] = policy.kms_key
        if days := policy.retained_days(key):
            wanted["ObjectLockMode"] = policy.lock.upper()
            wanted["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=days)
        return wanted

    def _body(self, key: str, more: dict[str, str]) -> bytes | None:
        """Read an object, or a range of it, to its end, however often it is cut; None where there is none."""
        name = self._key(key)

        def attempt() -> bytes | None:
            try:
                body = self._client.get_object(Bucket=self.bucket, Key=name, **more)["Body"]
            except failures.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                if _code(error) in _PAST_END:
                    return b""
                if _code(error) in _THERE:
                    message = "has been written anew while it was read; start again"
                    raise StoreError(f"{self.where}/{key}: {message}") from None
                raise
            except _CUT_REFUSAL as error:
                raise _BodyCutError from error
            with body:
                try:
                    whole: bytes = body.read()
                except _CUT as error:
                    raise _BodyCutError from error
            return whole

        for tried in range(ATTEMPTS):
            with suppress(_BodyCutError):
                return self._ask(key, attempt)
            time.sleep(PAUSE_S * 2**tried)
        raise StoreError(f"{self.where}/{key}: {self.endpoint} cut it off {ATTEMPTS} times; try again later")

    def _ask(self, key: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except (failures.BotoCoreError, failures.ClientError, OSError) as error:
            raise self._refused(key, error) from None

    def _refused(self, key: str, error: Exception) -> StoreError:
        place = f"{self.where}/{key}" if key else self.where
        return StoreError(f"{place}: {_reason(error, self.endpoint)}")


def _session() -> Session:
    """Give boto3's usual session, but for the reading of times."""
    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return Session(botocore_session=session)


def _time(told: object) -> datetime:
    """Read a time as botocore does, and its usual forms quickly: each object of a listing has one."""
    if isinstance(told, str) and (read := _TIMES.get(told[-1:])):
        with suppress(ValueError):
            return read(told)
    found: datetime = parse_timestamp(told)
    return found


def _parts(prefix: str | None) -> list[str]:
    inner = (prefix or "").removesuffix("/")
    return inner.split("/") if inner else []


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def _code(error: failures.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _reason(error: Exception, endpoint: str) -> str:
    """Say what went wrong and what to do. Only what the service says is quoted, cut short."""
    if isinstance(error, failures.ClientError):
        message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
        refused = f"refused by the service: {_code(error)} {message[:200]}".rstrip(" .")
        return _WHAT_TO_DO.get(_code(error), refused)
    for kinds, sentence in _FAILED:
        if isinstance(error, kinds):
            return sentence.format(endpoint=endpoint)
    return f"{endpoint} broke off {ATTEMPTS} times ({type(error).__name__}); try again later"
