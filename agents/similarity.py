"""How alike two texts are: the cosine between counts of their words, pairs of words and triples of letters.

The counts are hashed into a short vector of small integers (feature hashing with signs: Weinberger et al. 2009) and
compared in integers, so the answer has the same bits on every machine; no model's weights are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

DIMENSIONS = 512
MAX_WORDS = 80
"""A longer text is compared by its beginning."""
WORD, PAIR, TRIPLE = 3, 2, 1
"""Weight of a whole word, of two in a row, and of three letters in a row."""
_LARGEST = 127


@lru_cache(maxsize=65_536)
def _place(gram: str) -> tuple[int, int]:
    """Give the gram's dimension and sign."""
    number = int.from_bytes(blake2b(gram.encode(), digest_size=4).digest(), "big")
    return number >> 1 & (DIMENSIONS - 1), 1 if number & 1 else -1


def sketch(words: Sequence[str]) -> bytes:
    """Give a text's vector: `DIMENSIONS` signed bytes."""
    counts = [0] * DIMENSIONS
    before = ""
    for word in words[:MAX_WORDS]:
        grams = [(f"w {word}", WORD), (f"p {before} {word}", PAIR)]
        edged = f" {word[:64]} "
        grams += [(edged[i : i + 3], TRIPLE) for i in range(len(edged) - 2)]
        for gram, weight in grams:
            place, sign = _place(gram)
            counts[place] += sign * weight
        before = word
    return np.clip(np.array(counts, np.int64), -_LARGEST, _LARGEST).astype(np.int8).tobytes()


def similar(one: bytes, others: Sequence[bytes], at_least_pct: int) -> list[bool]:
    """Tell of each of the others whether its cosine with the one is at least so many hundredths, above zero."""
    if not others:
        return []
    vector = np.frombuffer(one, np.int8).astype(np.int64)
    rows = np.frombuffer(b"".join(others), np.int8).reshape(-1, DIMENSIONS).astype(np.int64)
    product = (rows * vector).sum(axis=1)
    lengths = (rows * rows).sum(axis=1) * (vector * vector).sum()
    alike = (product > 0) & (10_000 * product * product >= at_least_pct * at_least_pct * lengths)
    return [bool(each) for each in alike.tolist()]


def contained(one: bytes, others: Sequence[bytes], at_least_pct: int) -> list[bool]:
    """Tell of each of the others whether it holds at least so many hundredths of the one's counts."""
    if not others:
        return []
    vector = np.frombuffer(one, np.int8).astype(np.int64)
    rows = np.frombuffer(b"".join(others), np.int8).reshape(-1, DIMENSIONS).astype(np.int64)
    shared = np.where(rows * vector > 0, np.minimum(np.abs(rows), np.abs(vector)), 0).sum(axis=1)
    whole = int(np.abs(vector).sum())
    return [whole > 0 and 100 * each >= at_least_pct * whole for each in shared.tolist()]
