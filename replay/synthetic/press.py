"""When the synthetic press writes, and what its stories do to the price some minutes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from connectors.archive import SCHEMAS
from replay.synthetic import stories
from replay.synthetic.scenario import MINUTES, PRESS, Scenario, day_start_ns
from replay.synthetic.stories import Line
from replay.synthetic.walk import Floats
from schemas.base import NS_PER_MIN, NS_PER_S, base_of

TRUE_SHARE, CONTRARY_SHARE = 0.55, 0.2
"""Of the glad and grim stories; these move the price against their tone (it was expected), the rest not at all."""
DULL_SHARE = 0.3
EFFECT_MIN, EFFECT_RANGE = 0.002, 0.008
DELAY_MIN, DELAY_RANGE_MIN = 3, 10
RAMP_MIN, RAMP_RANGE_MIN = 20, 60
CHATTER_PER_DAY = 6
ATTACK_AT_MIN, ATTACK_MIN, ATTACK_POSTS = 600, 15, 60


class Story(NamedTuple):
    """A story, and what it does to the price."""

    minute: int
    """Of the day."""
    tone: int
    effect: float
    """Return from `minute + delay_min` on, spread over `ramp_min`."""
    delay_min: int
    ramp_min: int


class Text(NamedTuple):
    """A text and when it is posted."""

    minute: float
    line: Line
    followers: int = 0
    retweets: int = 0


def stories_of(scenario: Scenario, index: int, day: int) -> list[Story]:
    """Give the stories of a day on an instrument, in no order."""
    rng = scenario.rng(PRESS, index, day, 0)
    return [_story(rng) for _ in range(scenario.news_per_day)] if day >= 0 else []


def _story(rng: np.random.Generator) -> Story:
    at, mood, truth, size, delay, ramp = rng.random(6).tolist()
    tone = 0 if mood < DULL_SHARE else 1 if mood < (1.0 + DULL_SHARE) / 2.0 else -1
    way = 1 if truth < TRUE_SHARE else -1 if truth < TRUE_SHARE + CONTRARY_SHARE else 0
    return Story(
        minute=int(at * MINUTES),
        tone=tone,
        effect=way * tone * (EFFECT_MIN + EFFECT_RANGE * size),
        delay_min=DELAY_MIN + int(delay * DELAY_RANGE_MIN),
        ramp_min=RAMP_MIN + int(ramp * RAMP_RANGE_MIN),
    )


def impulses(scenario: Scenario, index: int, day: int) -> Floats:
    """Give what the stories of today and yesterday add to the return of each minute of today."""
    both = np.zeros(2 * MINUTES)
    for offset, published in ((0, day - 1), (MINUTES, day)):
        for story in stories_of(scenario, index, published) if published >= 0 else ():
            start = offset + story.minute + story.delay_min
            both[start : start + story.ramp_min] += story.effect / story.ramp_min
    return both[MINUTES:]


def news(scenario: Scenario, index: int, day: int) -> pa.Table:
    """Give the headlines of a day on an instrument, in archive columns."""
    rng = scenario.rng(PRESS, index, day, 1)
    base = base_of(scenario.instruments[index])
    texts = [
        Text(story.minute + rng.random(), stories.headline(rng, base, story.tone))
        for story in stories_of(scenario, index, day)
    ]
    fields: dict[str, Callable[[Text], object]] = {
        "source": lambda t: t.line.source,
        "title": lambda t: t.line.text,
        "text": lambda _: "",
        "url": lambda _: "",
    }
    return _table(scenario, index, day, "news", texts, fields)


def tweets(scenario: Scenario, index: int, day: int) -> pa.Table:
    """Give the posts of a day on an instrument, in archive columns."""
    rng = scenario.rng(PRESS, index, day, 2)
    base = base_of(scenario.instruments[index])
    texts = [_chatter(rng, base) for _ in range(CHATTER_PER_DAY if scenario.news_per_day else 0)]
    for story in stories_of(scenario, index, day):
        over = story.minute + story.delay_min + story.ramp_min
        if story.effect and over < MINUTES:
            texts.append(_post(rng, over + rng.random(), stories.aftermath(rng, base, story.tone)))
    if scenario.fake_news and index == 0 and day == scenario.attack_day:
        texts += [_bot(rng, base) for _ in range(ATTACK_POSTS)]
    fields: dict[str, Callable[[Text], object]] = {
        "author": lambda t: t.line.source,
        "text": lambda t: t.line.text,
        "followers": lambda t: t.followers,
        "retweets": lambda t: t.retweets,
        "is_retweet": lambda _: False,
        "url": lambda _: "",
    }
    return _table(scenario, index, day, "tweets", texts, fields)


def _chatter(rng: np.random.Generator, base: str) -> Text:
    tone = (-1, 0, 0, 1)[int(rng.random() * 4)]
    return _post(rng, rng.random() * MINUTES, stories.chatter(rng, base, tone))


def _post(rng: np.random.Generator, minute: float, line: Line) -> Text:
    return Text(minute, line, followers=100 + int(rng.random() * 5_000), retweets=int(rng.random() * 50))


def _bot(rng: np.random.Generator, base: str) -> Text:
    minute = ATTACK_AT_MIN + ATTACK_MIN * rng.random()
    return Text(minute, stories.fake(rng, base), followers=int(rng.random() * 40), retweets=int(rng.random() * 9))


def _table(
    scenario: Scenario,
    index: int,
    day: int,
    kind: str,
    texts: list[Text],
    fields: dict[str, Callable[[Text], object]],
) -> pa.Table:
    """Date the texts; a collector sees each of them half a second to three seconds after it is posted."""
    rng = scenario.rng(PRESS, index, day, 3)
    texts = sorted(texts)
    instrument = scenario.instruments[index]
    occurred = [day_start_ns(day) + int(text.minute * NS_PER_MIN) for text in texts]
    columns: dict[str, list[object]] = {
        "id": [f"synthetic-{scenario.seed}/{instrument}/{kind}/{day}-{n}" for n in range(len(texts))],
        "key": [base_of(instrument)] * len(texts),
        "occurred_at": list(occurred),
        "observed_at": [at + int((0.5 + 2.5 * rng.random()) * NS_PER_S) for at in occurred],
    }
    columns |= {name: [value(text) for text in texts] for name, value in fields.items()}
    return pa.table(columns, schema=SCHEMAS[kind])
