"""What of a headline the `finance` voter goes by: its words and pairs of words, and which figures move which way.

Pure and exact: a feature is a string, by which its trained weight is found. A text has each feature once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from connectors.voters.finance.words import BAD, BETTER, COMPARE, DENY, DOWN, GOOD, MAGNITUDES, UP, WORSE

MAX_CHARS = 2000
"""Of a text; what stands behind them is not read, as a headline has said it by then."""
REACH = 7
"""Words between a direction and the figure that it moves, or between two numbers that are compared."""
DENIED = 3
"""Words behind a denial that it turns."""
YEARS = range(1980, 2041)
"""Bare numbers that are years, not figures."""
COUNTED = 2
"""Signs of one kind that count; more of them say no more."""

_LINK = re.compile(r"(?:https?:|www\.)\S*|@\w+", re.ASCII)
_TOKEN = re.compile(
    r"(?P<ticker>\$[a-z][a-z._]*)"
    r"|(?P<sign>(?<![\w.])[+-])?\s?(?P<money>[$€£]|\b(?:eur|usd))?\s?(?P<digits>\d+(?:,\d{3})*(?:\s?\.\d+)?)"
    r"\s?(?P<unit>%|(?:pct|percent|k|thousand|m|mn|mln|million|mm|b|bn|bln|billion|t|tn|trillion)\b)?"
    r"|(?P<word>[a-z]+(?:-[a-z]+)*)"
    r"|(?P<stop>[!?;:]|[.,](?=\s|$))",
    re.ASCII,
)


class Token(NamedTuple):
    """A word, lower case; or of a number its shape (`+#%`) and its value."""

    word: str
    value: Fraction | None = None


def tokens(text: str) -> list[Token]:
    """Split a text into words, shapes of numbers, `$t` for a ticker, and stops; links and handles are left out."""
    plain = _LINK.sub(" ", text[:MAX_CHARS].lower().replace("\u2019", "'").replace("n't", " not").replace("'s", ""))
    return [_token(match) for match in _TOKEN.finditer(plain)]


def _token(match: re.Match[str]) -> Token:
    if match["digits"] is None:
        return Token("$t" if match["ticker"] else match["word"] or match["stop"])
    unit = match["unit"] or ""
    value = Fraction(re.sub(r"[\s,]", "", match["digits"])) * MAGNITUDES.get(unit, 1)
    if not (unit or match["money"] or match["sign"] or "," in match["digits"]) and value in YEARS:
        return Token("#year")
    percent = "%" if unit in {"%", "pct", "percent"} else ""
    return Token(f"{match['sign'] or ''}{'$' if match['money'] and not percent else ''}#{percent}", value)


def features(text: str) -> list[str]:
    """Give the features of a text, each once, in a fixed order."""
    said = tokens(text)
    words = [token.word for token in said]
    found = [*words, *(f"{a} {b}" for a, b in pairwise(["^", *words, "^"]))]
    signs = [*_judged(words), *_moved(words), *_compared(said)]
    found += signs
    found += _balance(signs)
    return list(dict.fromkeys(found))


def _judged(words: Sequence[str]) -> Iterator[str]:
    """Find what is called good or bad."""
    for i, word in enumerate(words):
        kind = "good" if word in BETTER else "bad" if word in WORSE else ""
        if kind:
            yield f"={'!' if _denied(words, i) else ''}{kind}"
        elif word.startswith(("+#", "-#")):
            yield f"={word[0]}{word[-1]}"


def _moved(words: Sequence[str]) -> Iterator[str]:
    """Find which kind of figure is said to move which way: `=good~up`, and `=~up` where no figure is near."""
    for i, word in enumerate(words):
        way = "up" if word in UP else "down" if word in DOWN else ""
        if way:
            yield f"={'!' if _denied(words, i) else ''}{_figure(words, i)}~{way}"


def _compared(said: Sequence[Token]) -> Iterator[str]:
    """Find numbers that are held against an earlier one: `13.1 mn, from 12.5 mn` is up, `from 13 to 12` is down."""
    words = [token.word for token in said]
    for i, word in enumerate(words):
        if word not in COMPARE:
            continue
        then = _number(said, range(i + 1, min(i + REACH, len(said))))
        if then is None:
            continue
        if word == "from" and words[then + 1 : then + 2] == ["to"]:
            now = _number(said, range(then + 2, min(then + 4, len(said))), words[then])
        else:
            now = _number(said, range(i - 1, max(i - REACH - 1, -1), -1), words[then])
        a, b = (None if now is None else said[now].value), said[then].value
        if now is not None and a is not None and b is not None and a != b:
            yield f"={_figure(words, min(now, then))}#{'up' if a > b else 'down'}"


def _number(said: Sequence[Token], places: range, shape: str = "") -> int | None:
    """Give the first place that holds a number; with `shape`, one of that unit."""
    for i in places:
        if said[i].value is not None and (not shape or said[i].word.lstrip("+-") == shape.lstrip("+-")):
            return i
    return None


def _figure(words: Sequence[str], i: int) -> str:
    """Tell whether the figure nearest to a place, one before it first, is good or bad when it rises."""
    for places in (range(i - 1, max(i - REACH - 1, -1), -1), range(i + 1, min(i + REACH, len(words)))):
        for j in places:
            if words[j] in ".;:!?":
                break
            if words[j] in BAD or words[j] in GOOD:
                return "bad" if words[j] in BAD else "good"
    return ""


def _denied(words: Sequence[str], i: int) -> bool:
    return any(word in DENY for word in words[max(i - DENIED, 0) : i])


POSITIVE = frozenset("=good =!bad =+# =+% =good~up =bad~down =good#up =bad#down =~up =#up =!good~down =!bad~up".split())
NEGATIVE = frozenset(
    "=bad =!good =-# =-% =good~down =bad~up =good#down =bad#up =~down =#down =!good~up =!bad~down".split()
)


def _balance(signs: Sequence[str]) -> Iterator[str]:
    """Count the signs of either side, and say which are more."""
    up, down = sum(sign in POSITIVE for sign in signs), sum(sign in NEGATIVE for sign in signs)
    yield f"=p{min(up, COUNTED)}"
    yield f"=n{min(down, COUNTED)}"
    yield "=more+" if up > down else "=more-" if down > up else "=even"
    if up and not down:
        yield "=only+"
    if down and not up:
        yield "=only-"
