"""What a prompt is made of: an instruction, and a question with slots that take the fields of a question's parts.

The slots are a closed set, each with its formats. Ids and absolute times are none of them: they mean nothing to a model,
and would make two of every question that is put twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

SEPARATOR = "---"
"""The line between the instruction and the question."""
TEXTS = "texts"
"""The slot of the quoted texts; its format lists what stands beside each."""
BESIDE_A_TEXT = ("source", "age", "score")
SLOTS: dict[str, tuple[str, ...]] = {
    "instrument": ("name",),
    "observed_at": ("age",),
    "close": ("price", "number"),
    "return_since_ask": ("percent", "number"),
    "ema_fast": ("price", "number"),
    "ema_slow": ("price", "number"),
    "rsi": ("number",),
    "atr": ("price", "number"),
    "volatility": ("percent", "number"),
    "drawdown": ("percent", "number"),
    "bars": ("count",),
    "text_count": ("count",),
    "text_sentiment": ("score", "number"),
}
"""Field of a `PricePart` to its formats; the first is taken where a slot names none."""
PRICE_SLOTS = tuple(name for name in SLOTS if name not in ("instrument", "text_count", "text_sentiment"))
"""Of these a prompt that shows the price has at least one, and one that does not has none."""

SLOT = re.compile(r"\{\{ *([^{}:]*?) *(?:: *([^{}]*?) *)?\}\}")
_LEFT = re.compile(r"\{\{|\}\}")


class Slot(NamedTuple):
    """A place in a question that takes a value."""

    name: str
    format: str
    """Of `texts`, what stands beside each, separated by commas."""


def parts_of(text: str) -> tuple[str, str]:
    """Give the instruction of a prompt's text and its question; that is empty where the usual one is asked."""
    instruction, _, question = text.partition(f"\n{SEPARATOR}\n")
    return instruction.strip(), question.strip()


def slot_of(match: re.Match[str]) -> Slot:
    """Give the slot that `SLOT` found, with the format that it takes."""
    name, told = match[1], match[2]
    if name == TEXTS:
        return Slot(name, ",".join(each.strip() for each in told.split(",")) if told else ",".join(BESIDE_A_TEXT))
    return Slot(name, told or SLOTS.get(name, ("",))[0])


def slots_of(question: str) -> Iterator[Slot]:
    """Give the slots of a question, in order."""
    return map(slot_of, SLOT.finditer(question))
