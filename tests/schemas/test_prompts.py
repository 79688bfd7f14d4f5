"""What a prompt may say: its slots are fields of a question's parts, and what cannot be meant is refused in a word."""

from __future__ import annotations

import pytest

from schemas.prompts import SLOT, SLOTS, TEXTS, Slot, digest_of, parts_of, slot_of, wrong_with
from schemas.verdicts import PricePart

BOTH = ("price", "texts")
GOOD = "Vote.\n---\n{{instrument}} {{close}}\n{{texts}}"


def test_every_field_of_a_price_part_is_a_slot_but_the_event_that_it_cites() -> None:
    assert set(SLOTS) == set(PricePart.__struct_fields__) - {"cites"}


def test_a_text_parts_at_the_first_line_of_hyphens() -> None:
    assert parts_of("Vote.\nWell.\n---\n{{close}}") == ("Vote.\nWell.", "{{close}}")
    assert parts_of("Vote --- well.") == ("Vote --- well.", "")


def test_a_slot_without_a_format_takes_the_first() -> None:
    text = "{{close}} {{ close : number }} {{texts}} {{texts: age, source}}"
    assert [slot_of(found) for found in SLOT.finditer(text)] == [
        Slot("close", "price"),
        Slot("close", "number"),
        Slot(TEXTS, "source,age,score"),
        Slot(TEXTS, "age,source"),
    ]


@pytest.mark.parametrize(
    ("shows", "text"),
    [
        (BOTH, GOOD),
        (BOTH, "Vote."),
        (("price",), "Vote.\n---\n{{close:number}} {{text_count}} {{text_sentiment}}"),
        (("texts",), "Vote.\n---\n{{instrument}}\n{{texts:age}}"),
    ],
)
def test_what_can_be_meant_is_taken(shows: tuple[str, ...], text: str) -> None:
    assert list(wrong_with(shows, text)) == []


@pytest.mark.parametrize(
    ("shows", "text", "reason"),
    [
        (BOTH, "", "has no instruction"),
        (BOTH, "\n---\n{{close}} {{texts}}", "has no instruction"),
        (BOTH, "Vote on {{instrument}}.\n---\n{{close}} {{texts}}", "has a slot in its instruction"),
        (BOTH, "Vote on {{.", "has a slot in its instruction"),
        (BOTH, GOOD + "\n---\nmore", "more than one line ---"),
        (BOTH, GOOD + " {{cites}}", "the unknown slot {{cites}}; there are instrument, "),
        (BOTH, GOOD + " {{}}", "the unknown slot {{}}"),
        (BOTH, GOOD + " {{close:percent}}", "the format 'percent' of {{close}}, which takes price or number"),
        (BOTH, GOOD + " {{close:}}", "the format '' of {{close}}"),
        (BOTH, "Vote.\n---\n{{close}} {{texts:id}}", "the format 'id' of {{texts}}, which takes some of source, "),
        (BOTH, "Vote.\n---\n{{close}} {{texts:age,age}}", "the format 'age,age' of {{texts}}"),
        (BOTH, GOOD + " {{close", "braces that are no slot"),
        (BOTH, "Vote.\n---\n{{close}}", "shows texts, so its question has the slot {{texts}} once"),
        (BOTH, GOOD + "{{texts}}", "the slot {{texts}} once"),
        (BOTH, "Vote.\n---\n{{instrument}} {{texts}}", "shows the price, so"),
        (("price",), GOOD, "has the slot {{texts}}, and `shows` does not name texts"),
        (("texts",), GOOD, "has the slot {{close}}, and `shows` does not name price"),
        (("price",), "Vote.", "has no question of its own"),
        (BOTH, GOOD + "\x1b[2J", "holds the control character '\\x1b'"),
    ],
)
def test_what_cannot_be_meant_is_told(shows: tuple[str, ...], text: str, reason: str) -> None:
    assert reason in next(wrong_with(shows, text))


def test_a_digest_is_of_the_text_and_of_what_is_shown() -> None:
    assert digest_of(BOTH, "a") == digest_of(("texts", "price"), "a") != digest_of(("price",), "a")
    assert digest_of(BOTH, "a") != digest_of(BOTH, "b")
