"""What a prompt is made of: an instruction, and a question with slots that take the fields of a question's parts.

The slots are a closed set, each with its formats. No id and no absolute time is one: they mean nothing to a model, and
would make two of every question that is put twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from schemas.fields import MAX_TEXT_CHARS, UNPRINTABLE_IN_TEXT

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
DIGEST_CHARS = 12

SLOT = re.compile(r"\{\{ *([^{}:]*?) *(?:: *([^{}]*?) *)?\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_UNPRINTABLE = re.compile(UNPRINTABLE_IN_TEXT)


class Prompt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a question is put, carried by the book that puts it: a run is rebuilt without the file that it came from."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[int, Meta(ge=1)]
    """A changed text is a new version."""
    shows: Annotated[tuple[Literal["price", "texts"], ...], Meta(min_length=1)] = ("price", "texts")
    """Parts of a question that a model reads; texts that are not shown are not in the question either."""
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
    """The instruction, and after a line `---` the question."""

    @property
    def digest(self) -> str:
        """Tell this text from any other."""
        return digest_of(self.shows, self.text)

    @property
    def id(self) -> str:
        """Give what a verdict names its prompt by."""
        return f"{self.name}@{self.version}#{self.digest}"

    def wrong(self) -> Iterator[str]:
        """Find what is wrong with its text."""
        return (f"prompt {self.name}@{self.version} {wrong}" for wrong in wrong_with(self.shows, self.text))


class Slot(NamedTuple):
    """A place in a question that takes a value."""

    name: str
    format: str
    """Of `texts`, what stands beside each, separated by commas."""


def parts_of(text: str) -> tuple[str, str]:
    """Give the instruction of a prompt's text and its question, which is empty where the usual one is asked."""
    instruction, _, question = text.partition(f"\n{SEPARATOR}\n")
    return instruction.strip(), question.strip()


def slot_of(match: re.Match[str]) -> Slot:
    """Give the slot that `SLOT` found, with the format that it takes."""
    name, told = match[1], match[2]
    if name == TEXTS:
        return Slot(name, ",".join(BESIDE_A_TEXT if told is None else (each.strip() for each in told.split(","))))
    return Slot(name, SLOTS.get(name, ("",))[0] if told is None else told)


def digest_of(shows: Collection[str], text: str) -> str:
    """Give the digest by which one text of a prompt is told from another, 12 hex digits."""
    return sha256(" ".join([*sorted(shows), text]).encode()).hexdigest()[:DIGEST_CHARS]


def wrong_with(shows: Collection[str], text: str) -> Iterator[str]:
    """Find what is wrong with a prompt that shows these parts (`price`, `texts`); each in a sentence's end."""
    instruction, question = parts_of(text)
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        yield f"holds the control character {unprintable[0]!r}"
    if not instruction:
        yield "has no instruction: what the model is to do stands first"
    if SLOT.search(instruction) or _BRACES.search(instruction):
        yield f"has a slot in its instruction; slots stand in the question, below a line {SEPARATOR}"
    if f"\n{SEPARATOR}\n" in f"\n{question}\n":
        yield f"has more than one line {SEPARATOR}; one parts the instruction from the question"
    if question:
        yield from _wrong_with_slots(shows, question)
    elif not {"price", TEXTS}.issubset(shows):
        yield "has no question of its own, and the usual one shows price and texts"


def _wrong_with_slots(shows: Collection[str], question: str) -> Iterator[str]:
    slots = [slot_of(match) for match in SLOT.finditer(question)]
    names = Counter(slot.name for slot in slots)
    for slot in slots:
        yield from _wrong_with_slot(slot)
    if _BRACES.search(SLOT.sub("", question)):
        yield "has braces that are no slot; a slot is written {{close}} or {{close:price}}"
    if TEXTS in shows and names[TEXTS] != 1:
        yield "shows texts, so its question has the slot {{texts}} once"
    if TEXTS not in shows and names[TEXTS]:
        yield "has the slot {{texts}}, and `shows` does not name texts"
    priced = [name for name in PRICE_SLOTS if names[name]]
    if "price" in shows and not priced:
        yield "shows the price, so its question has a slot of it, as {{close:price}}"
    if "price" not in shows and priced:
        yield f"has the slot {{{{{priced[0]}}}}}, and `shows` does not name price"


def _wrong_with_slot(slot: Slot) -> Iterator[str]:
    if slot.name == TEXTS:
        told = slot.format.split(",")
        if not set(told).issubset(BESIDE_A_TEXT) or len(set(told)) < len(told):
            yield f"has the format {slot.format!r} of {{{{texts}}}}, which takes some of {', '.join(BESIDE_A_TEXT)}"
    elif slot.name not in SLOTS:
        yield f"has the unknown slot {{{{{slot.name}}}}}; there are {', '.join((*SLOTS, TEXTS))}"
    elif slot.format not in SLOTS[slot.name]:
        yield f"has the format {slot.format!r} of {{{{{slot.name}}}}}, which takes {' or '.join(SLOTS[slot.name])}"
