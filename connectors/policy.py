"""How a lake is kept: encryption, what may not be deleted and for how long, when it moves to cheaper storage.

The policy lies in the lake itself, as `lake.json` at its root, so that whoever writes there obeys it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import StoreError

if TYPE_CHECKING:
    from connectors.store import Store

POLICY_KEY = "lake.json"
SEVEN_YEARS_DAYS = 2557
RETAINED = ("proposals", "risk-decisions", "signals", "verdicts", "orders", "fills", "journal")
"""Topics whose objects Object Lock keeps, where a lake has one."""
TIER_AFTER_DAYS = 30


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `lake.json` holds."""

    v: Literal[1] = 1
    encryption: Literal["AES256", "aws:kms"] = "AES256"
    """By S3, of each object, always."""
    kms_key: str = ""
    """Id or ARN of the key; empty with `aws:kms` is the account's own for S3."""
    lock: Literal["", "governance", "compliance"] = ""
    """Object Lock: none; one that a user with the right may lift; one that nobody may."""
    retain_days: dict[str, Annotated[int, Meta(ge=1, le=36_500)]] = msgspec.field(
        default_factory=lambda: dict.fromkeys(RETAINED, SEVEN_YEARS_DAYS)
    )
    """By topic; used where there is a lock."""
    tier_after_days: Annotated[int, Meta(ge=0, le=36_500)] = TIER_AFTER_DAYS
    """When objects move to Intelligent-Tiering; 0 is never."""

    def retained_days(self, key: str) -> int:
        """Give how long the object at `key` of a lake may not be deleted; 0 where it may.

        Plans and heads of chains are written over and removed as the archiver works, so they are never locked.
        """
        topic = topic_of(key)
        passing = key.endswith((".plan", "/head"))
        return self.retain_days.get(topic, 0) if self.lock and not passing else 0


def topic_of(key: str) -> str:
    """Give the topic that an object of a lake belongs to; empty where it belongs to none."""
    layer, _, inner = key.partition("/")
    if layer == "journal":
        return layer
    topic, below, _ = inner.partition("/")
    return topic if below and layer in {"raw", "manifests"} else ""


def load_policy(store: Store) -> Policy:
    """Read the policy of the lake at a store's root; where it has none, the default. Raises StoreError."""
    data = store.get(POLICY_KEY)
    if data is None:
        return Policy()
    try:
        return msgspec.json.decode(data, type=Policy)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{store.where}/{POLICY_KEY}: {error}; `quorum lake setup` writes it anew") from None


def apply_policy(where: str, policy: Policy) -> None:
    """Write a lake's policy, and for a bucket its lifecycle and the check that it has Object Lock where one is asked.

    Rules of the bucket's lifecycle that are not this lake's stay. Raises StoreError, and then `lake.json` is as it was.
    """
    from connectors.store import S3_PREFIX, open_store  # noqa: PLC0415 - a store reads its policy, so it imports this

    if policy.kms_key and policy.encryption != "aws:kms":
        raise StoreError(f"{where}: a KMS key needs the encryption aws:kms")
    if where.startswith(S3_PREFIX):
        from connectors.s3 import S3Store  # noqa: PLC0415 - boto3 is slow to import, and a folder has no need of it

        bucket = S3Store(where, policy)
        if policy.lock:
            bucket.require_object_lock()
        bucket.set_lifecycle(policy.tier_after_days)
        bucket.put(POLICY_KEY, _encoded(policy))
        return
    if policy.lock:
        raise StoreError(f"{where}: a folder has no Object Lock; leave it out, or name a bucket")
    open_store(where).put(POLICY_KEY, _encoded(policy))


def _encoded(policy: Policy) -> bytes:
    return msgspec.json.format(msgspec.json.encode(policy, order="sorted"), indent=2) + b"\n"
