"""Amazon Comprehend's BatchDetectSentiment: the tone of English texts, each -1 to 1; of all texts, or an error.

Region, keys and address are those of AWS's own variables. Costs are counted before a call, by the price table.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connectors.models.aws import broken, client, refused
from connectors.models.deadline import Calls
from connectors.models.prices import price_table
from connectors.models.provider import CallError, word_of
from connectors.models.refusals import unreadable

NAME = "Comprehend"
MAX_TEXTS = 25
"""In a call."""
MAX_TEXT_BYTES = 5000
"""Of a text in UTF-8; of a longer one its beginning is read."""
UNIT_CHARS, MIN_UNITS = 100, 3
"""Every text is charged by begun units of so many characters, and for so many at least."""
THRESHOLD = 0.2
"""From which a score leans to one side: that of `finance`, whose scores are made alike. No label has tried it."""
LONGEST_S = 10.0
"""That a call may take."""
Part = Annotated[float, Meta(ge=0.0, le=1.0)]


class _Scores(msgspec.Struct, frozen=True, rename="pascal"):
    positive: Part
    negative: Part


class _Result(msgspec.Struct, frozen=True, rename="pascal"):
    index: int
    sentiment_score: _Scores


class _Error(msgspec.Struct, frozen=True, rename="pascal"):
    error_code: str = ""


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    result_list: tuple[_Result, ...]
    error_list: tuple[_Error, ...] = ()


class Comprehend:
    """The service."""

    def __init__(self) -> None:
        """Prepare; nothing is called. Raises BookError where region or keys are missing."""
        self._detect = client("comprehend", "Amazon Comprehend", LONGEST_S).batch_detect_sentiment
        self._calls: Calls[list[float]] = Calls()

    def scores(self, texts: Sequence[str], within_s: float) -> list[float]:
        """Score up to `MAX_TEXTS` texts, none of them blank: Positive - Negative of each, in one call.

        Raises CallError where not every one of them has a score in time.
        """
        longest_s = min(within_s, LONGEST_S)
        return self._calls.run(lambda: self._scores([readable(text) for text in texts], longest_s), longest_s)

    def _scores(self, texts: list[str], within_s: float) -> list[float]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - it takes long to load

        try:
            answer = self._detect(TextList=texts, LanguageCode="en")
        except ClientError as error:
            raise refused(error.response) from None
        except BotoCoreError as error:
            raise broken(type(error).__name__, within_s) from None
        except (AttributeError, TypeError, ValueError, RecursionError):  # the SDK takes any shape for the right one
            raise unreadable() from None
        return _read(answer, len(texts))


def _read(answer: Any, count: int) -> list[float]:  # noqa: ANN401
    try:
        said = msgspec.convert(answer, _Answer)
    except (msgspec.ValidationError, RecursionError):
        raise unreadable() from None
    if said.error_list:
        why = word_of(said.error_list[0].error_code) or "no reason"
        raise CallError("refused", f"{len(said.error_list)} of {count} texts have no score ({why})")
    scores = {each.index: each.sentiment_score.positive - each.sentiment_score.negative for each in said.result_list}
    whole = len(said.result_list) == count and sorted(scores) == list(range(count))
    if not whole or not all(map(isfinite, scores.values())):
        raise unreadable()
    return [scores[n] for n in range(count)]


def readable(text: str) -> str:
    """Give what is read of a text: so many whole characters of its beginning as a call takes."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")


def cost(texts: Sequence[str]) -> Decimal:
    """Give what the call for these texts costs, in USD."""
    units = sum(max(MIN_UNITS, -(-len(readable(text)) // UNIT_CHARS)) for text in texts)
    return units * price_table().comprehend.usd_per_unit
