"""One event, one encoding: what is written reads back as it was, on every machine and in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Event, Record
from schemas.checks import check
from schemas.codec import MAX_RECORD_BYTES, decode, encode
from schemas.control import RulesChanged
from schemas.decisions import ConsensusReached, TradeApproved
from schemas.execution import OrderFilled
from schemas.topics import EVENT_TYPES
from schemas.verdicts import VerdictRequested
from tests.schemas.samples import full, sparse
from tests.schemas.strategies import events

ROOT = Path(__file__).parents[2]
SAMPLES: tuple[Record, ...] = (
    *map(full, EVENT_TYPES),
    *full(TradeApproved).clamps,
    *full(ConsensusReached).votes,
    *full(VerdictRequested).prompt,
)


FEW = settings(max_examples=settings().max_examples // 5)
"""For what is drawn for each of the types."""


def names_of(kinds: Iterable[type]) -> list[str]:
    return [kind.__name__ for kind in kinds]


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=names_of(EVENT_TYPES))
@FEW
@given(data=st.data())
def test_every_event_reads_back_from_its_bytes(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    check(event)
    payload = encode(event)
    assert len(payload) <= MAX_RECORD_BYTES
    assert decode(payload) == event
    assert encode(decode(payload)) == payload


@given(events(), st.randoms(use_true_random=False))
def test_another_programs_spelling_reads_as_the_same_event(event: Event, random: Random) -> None:
    """Fields in any order, blanks between them, escapes instead of UTF-8, defaults written out."""
    fields = [field for field in msgspec.structs.fields(type(event)) if not field.required]
    defaults = {field.name: msgspec.to_builtins(field.default) for field in fields}
    record = {**defaults, **msgspec.json.decode(encode(event))}
    names = list(record)
    random.shuffle(names)
    foreign = json.dumps({name: record[name] for name in names}, indent=random.choice((None, 1)))
    assert decode(foreign.encode()) == event


@pytest.mark.parametrize(
    ("written", "read"), [("0.00000012", "1.2E-7"), ("1.2E-7", "1.2E-7"), ("37000.50", "37000.50"), ("7", "7")]
)
def test_a_small_decimal_may_be_written_in_full(written: str, read: str) -> None:
    payload = encode(sparse(OrderFilled)).replace(b'"price":"37000.50"', f'"price":"{written}"'.encode())
    assert encode(decode(payload)) == encode(msgspec.structs.replace(sparse(OrderFilled), price=Decimal(written)))
    assert f'"price":"{read}"'.encode() in encode(decode(payload))


@given(st.permutations(["order_pct", "max_position_pct", "max_exposure_pct", "max_orders_per_day"]))
def test_the_order_of_a_map_leaves_no_trace(names: list[str]) -> None:
    changed = msgspec.structs.replace(full(RulesChanged), changes=dict.fromkeys(names, 1.0))
    reference = msgspec.structs.replace(full(RulesChanged), changes=dict.fromkeys(sorted(names), 1.0))
    assert encode(changed) == encode(reference)


def fresh_copy(value: object) -> object:
    """A value that equals `value` and, where Python allows, is another object."""
    if isinstance(value, str):
        return "".join(list(value))
    if isinstance(value, Decimal):
        return Decimal(str(value))
    return float(str(value)) if isinstance(value, float) else value


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_value_that_equals_its_default_is_left_off(sample: Record) -> None:
    """msgspec leaves off by identity, so without care equal events would have different bytes."""
    fields = [field for field in msgspec.structs.fields(type(sample)) if not field.required]
    defaults = {field.name: field.default for field in fields}
    bare = msgspec.structs.replace(sample, **defaults)
    copied = msgspec.structs.replace(sample, **{name: fresh_copy(value) for name, value in defaults.items()})
    assert copied == bare
    assert encode(copied) == encode(bare)
    assert not set(msgspec.json.decode(encode(copied))) & set(defaults)


SEEDED = """
import sys
from schemas.codec import decode, encode
from tests.schemas.samples import full
from schemas.control import RulesChanged
from msgspec.structs import replace
names = {"order_pct", "max_position_pct", "max_exposure_pct", "max_order_notional", "max_price_age_s"}
changed = replace(full(RulesChanged), changes=dict.fromkeys(names, 1.0))
sys.stdout.write(" ".join(names) + "\\n" + encode(changed).decode())
"""


def test_the_hash_seed_leaves_no_trace() -> None:
    orders, encodings = [], []
    for seed in ("1", "2", "3"):
        written = subprocess.run(
            [sys.executable, "-c", SEEDED],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n")
        orders.append(written[0])
        encodings.append(written[1])
    assert len(set(orders)) > 1, "the seeds must shuffle the set, or this shows nothing"
    assert len(set(encodings)) == 1
