"""The `letters` voter: it reads pieces of words, three to five letters long, and no word list.

A piece is known by its CRC-32 modulo the size of a fixed table of weights, so unknown words count by what they share
with known ones. Pure and exact; see `connectors/voters/linear`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from struct import iter_unpack
from zlib import crc32

from connectors.voters.finance.features import MAX_CHARS
from connectors.voters.lexicons import CACHED_TEXTS
from connectors.voters.linear import BIAS, CalibratedVoter, Weights, score_by

WEIGHTS = "weights.bin"
"""Of each row the weight for bullish and the weight for bearish, int16, low byte first; the row of every text last."""
ROW = "<hh"
ROWS = 1 << 15
"""Of pieces; two pieces may share a row."""
SIZES = range(3, 6)
CACHED_WORDS = 1 << 16

_LINK = re.compile(r"(?:https?:|www\.)\S*|@\w+|(\$[a-z][a-z._]*)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*", re.ASCII)
_WORD = re.compile(r"[a-z0$%+'-]+|[!?]", re.ASCII)


def words(text: str) -> list[str]:
    """Split a text into words: case folded, a number is `0`, a ticker `$t`; links and handles are left out."""
    plain = text[:MAX_CHARS].casefold().replace("\u2019", "'")
    plain = _LINK.sub(lambda match: " $t " if match[1] else " ", plain)
    return _WORD.findall(_NUMBER.sub("0", plain))


@lru_cache(CACHED_WORDS)
def pieces(word: str) -> tuple[int, ...]:
    """Give the rows of a word's pieces; `<` and `>` mark where it begins and ends."""
    whole = f"<{word}>"
    found = (whole[i : i + size] for size in SIZES for i in range(len(whole) - size + 1))
    return tuple(dict.fromkeys(crc32(piece.encode()) % ROWS for piece in found))


def features(text: str) -> list[int]:
    """Give the rows of a text, each once, in a fixed order."""
    return list(dict.fromkeys(row for word in words(text) for row in pieces(word)))


@cache
def weights() -> Weights:
    """Read the weights."""
    rows = iter_unpack(ROW, files(__package__).joinpath(WEIGHTS).read_bytes())
    return {(row if row < ROWS else BIAS): (bullish, bearish) for row, (bullish, bearish) in enumerate(rows)}


@lru_cache(CACHED_TEXTS)
def letters_score(text: str) -> float:
    """Give P(bullish) - P(bearish) of a text, -1 to 1."""
    return score_by(weights(), features(text))


LETTERS = CalibratedVoter(
    "letters",
    letters_score,
    threshold=0.22,
    held=((0.0, 0.91), (0.028, 0.91), (0.083, 0.73), (0.138, 0.65), (0.193, 0.63), (0.22, 0.63)),
    sided=((0.22, 0.36), (0.298, 0.36), (0.454, 0.45), (0.61, 0.57), (0.766, 0.71), (0.922, 0.85), (1.0, 0.85)),
)
"""The threshold is the one with which two of three (with VADER and `finance`) vote best on the training split (`python
-m benchmarks.accuracy --tune`); the curves are measured there as well, on texts that the weights had not seen (`python
-m benchmarks.train_voters letters --calibrate`)."""
