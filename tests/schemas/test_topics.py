"""The table of topics: every event has one home, and the names are what Kafka takes."""

from __future__ import annotations

import re

import pytest

from schemas import accounting, control, decisions, execution, market, operations, texts, verdicts
from schemas.base import Event
from schemas.topics import EVENT_TYPES, TOPIC_OF, TOPICS, Topic

MODULES = (accounting, control, decisions, execution, market, operations, texts, verdicts)


def test_every_event_of_the_catalogue_is_in_exactly_one_topic() -> None:
    defined = {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event
    }
    assert set(EVENT_TYPES) == defined
    assert len(EVENT_TYPES) == len(defined)
    for topic in TOPICS:
        for kind in topic.events:
            assert TOPIC_OF[kind] == topic.name


def test_names_are_unique_and_fit_for_kafka() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z-]{0,62}", name) for name in names)
    kinds = [kind.__name__ for kind in EVENT_TYPES]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_settings_of_a_topic_make_sense(topic: Topic) -> None:
    assert topic.events
    assert topic.partitions > 0
    assert topic.retention_days == -1 or topic.retention_days > 0
    assert not topic.compacted or topic.retention_days == -1


def test_what_the_sequencer_merges_is_what_comes_from_outside() -> None:
    assert [topic.name for topic in TOPICS if topic.is_input] == [
        "ticks",
        "bars",
        "tweets",
        "news",
        "verdicts",
        "fills",
        "control",
    ]


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_facts_are_named_in_the_past_tense_and_tagged_by_their_name(kind: type[Event]) -> None:
    participles = ("ed", "Reached", "Given", "Pulled", "Reset")
    assert kind.__name__.endswith(participles)
    assert kind.__struct_config__.tag == kind.__name__
    assert kind.__struct_config__.tag_field == "type"


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_events_are_frozen_and_know_no_other_field(kind: type[Event]) -> None:
    config = kind.__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields
    assert config.omit_defaults
