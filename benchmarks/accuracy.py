"""How often the offline voters that read texts, alone and two of three, judge labelled sentences as people did.

Each set of `benchmarks/labelled.py` is read by all in one run, beside plain VADER with the thresholds that its authors
give, ±0.05. Prints macro-F1 and accuracy, the confusion matrices, and how often the learnt voters were right by their
confidence.
Run it from the repository's root: `python -m benchmarks.accuracy --plot docs/img/accuracy.svg`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.labelled import (
    CLASSES,
    NAMES,
    Confusion,
    Labelled,
    accuracy,
    confusion,
    cut,
    f1,
    fiqa,
    headlines,
    is_held_out,
    leaning,
    macro_f1,
    phrasebank,
)
from benchmarks.train_voters import LEARNERS, out_of_fold
from connectors.voters.finance.model import FINANCE
from connectors.voters.letters.model import LETTERS
from connectors.voters.lexicons import TEXTBLOB, VADER, TextVoter
from connectors.voters.linear import CalibratedVoter

PLAIN = 0.05
"""The threshold that VADER's authors give (Hutto and Gilbert 2014)."""
VOTERS: tuple[TextVoter, ...] = (VADER, TEXTBLOB, FINANCE, LETTERS)
TRIOS: Mapping[str, tuple[TextVoter, ...]] = {
    "2 of 3: v, t, f": (VADER, TEXTBLOB, FINANCE),
    "2 of 3: v, f, l": (VADER, FINANCE, LETTERS),
}
"""Three voters that vote together, by their first letters; the last is tuned to the two others."""
GRID = tuple(part / 50 for part in range(2, 21))
AGREE = 2
SETS: Mapping[str, Callable[[], list[Labelled]]] = {
    "headlines, held out": lambda: [each for each in headlines() if is_held_out(each.text)],
    "PhraseBank": lambda: phrasebank(50),
    "PhraseBank, 75 % agree": lambda: phrasebank(75),
    "FiQA, neutral under 0.1": lambda: fiqa(0.1),
    "FiQA, neutral under 0.3": lambda: fiqa(0.3),
}
LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
"""Edges of the bins of confidence."""
OUT = Console(width=130)


class Found(msgspec.Struct, frozen=True):
    """How one reader did on one set."""

    of: str
    reader: str
    texts: int
    macro_f1: float
    accuracy: float
    f1: dict[str, float]
    matrix: list[list[int]]
    """Rows are labels and columns answers: bullish, neutral, bearish."""


def agreed(votes: Sequence[int]) -> int:
    """Give the side that at least two of three take; neutral is HOLD, as is no such side."""
    return next((side for side in (1, -1) if votes.count(side) >= AGREE), 0)


def together(scores: Sequence[Sequence[float]], thresholds: Sequence[float]) -> list[int]:
    """Give the vote of the three on each text; `scores` holds a list a voter."""
    cuts = [cut(each, threshold) for each, threshold in zip(scores, thresholds, strict=True)]
    return [agreed(votes) for votes in zip(*cuts, strict=True)]


def readers(texts: Sequence[Labelled]) -> Iterator[tuple[str, list[int]]]:
    """Give the answers of each reader to the texts."""
    scores = {voter.lexicon: [voter.score(each.text) for each in texts] for voter in VOTERS}
    yield "plain VADER", cut(scores[VADER.lexicon], PLAIN)
    for voter in VOTERS:
        yield voter.lexicon.lower(), cut(scores[voter.lexicon], voter.threshold)
    for name, trio in TRIOS.items():
        yield name, together([scores[voter.lexicon] for voter in trio], [voter.threshold for voter in trio])


def measured() -> Iterator[Found]:
    """Read every set by every reader."""
    for name, read in SETS.items():
        texts = read()
        for reader, answers in readers(texts):
            yield _found(name, reader, confusion([each.label for each in texts], answers))


def _found(of: str, reader: str, counts: Confusion) -> Found:
    matrix = [[counts[label, answer] for answer in CLASSES] for label in CLASSES]
    by_class = {NAMES[each]: round(f1(counts, each), 4) for each in CLASSES}
    share = round(accuracy(counts), 4)
    return Found(of, reader, sum(counts.values()), round(macro_f1(counts), 4), share, by_class, matrix)


def tuned(trio: Sequence[TextVoter]) -> Iterator[tuple[float, float, float]]:
    """Give thresholds of the last of three, and the macro-F1 of it and of two of three with the others' as they are.

    Of the training split alone; learnt voters score each text by weights that were learnt without it.
    """
    texts = [each for each in headlines() if not is_held_out(each.text)]
    labels = [each.label for each in texts]
    scores = [
        out_of_fold(LEARNERS[voter.lexicon], texts)
        if voter.lexicon in LEARNERS
        else [voter.score(each.text) for each in texts]
        for voter in trio
    ]
    for threshold in GRID:
        alone = cut(scores[-1], threshold)
        vote = together(scores, (*(voter.threshold for voter in trio[:-1]), threshold))
        yield threshold, macro_f1(confusion(labels, alone)), macro_f1(confusion(labels, vote))


def _print(found: Sequence[Found]) -> None:
    table = Table(caption="macro-F1 (accuracy in percent)")
    table.add_column("set")
    for reader in _readers(found):
        table.add_column(reader, justify="right")
    for name in SETS:
        mine = [each for each in found if each.of == name]
        cells = (f"{each.macro_f1:.3f} ({100 * each.accuracy:.0f})" for each in mine)
        table.add_row(f"{name} ({mine[0].texts:,})", *cells)
    OUT.print(table)
    table = Table(caption="rows of each matrix are labels, columns answers: bullish, neutral, bearish")
    for column in ("set", "reader", "label", *NAMES.values(), "F1"):
        table.add_column(column, justify="left" if column in {"set", "reader", "label"} else "right")
    for each in found:
        for i, (label, row) in enumerate(zip(NAMES.values(), each.matrix, strict=True)):
            first = (each.of, each.reader) if i == 0 else ("", "")
            table.add_row(*first, label, *map(str, row), f"{each.f1[label]:.3f}", end_section=i == len(CLASSES) - 1)
    OUT.print(table)


def _readers(found: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(each.reader for each in found))


def _print_confidence(voter: CalibratedVoter) -> None:
    table = Table(caption=f"of `{voter.lexicon}`, votes by confidence: how many, mean confidence, share that was right")
    table.add_column("confidence")
    read = {name: SETS[name]() for name in SETS}
    for name in SETS:
        table.add_column(name, justify="right")
    for low, high in pairwise(LEVELS):
        cells = (_by_confidence(voter, read[name], low, high) for name in SETS)
        table.add_row(f"{low:.1f} to {min(high, 1.0):.1f}", *cells)
    OUT.print(table)


def _by_confidence(voter: CalibratedVoter, texts: Sequence[Labelled], low: float, high: float) -> str:
    votes = []
    for text, label in texts:
        score = voter.score(text)
        sure = voter.confidence(abs(score))
        if low <= sure < high:
            votes.append((sure, leaning(score, voter.threshold) == label))
    if not votes:
        return "none"
    return f"{len(votes)}: {sum(s for s, _ in votes) / len(votes):.2f}, {sum(r for _, r in votes) / len(votes):.2f}"


WIDTH, LEFT, TOP, BAR, GAP = 640, 190, 56, 13, 14
COLOURS = ("#b8b8b8", "#8fb3c0", "#c9a66b", "#1f6f8b", "#6b8f4e", "#b59ac0", "#7a5c86")


def drawn(found: Sequence[Found]) -> str:
    """Draw the macro-F1 of each reader on each set as bars, in an SVG document."""
    names = _readers(found)
    parts = []
    for i, name in enumerate(names):
        x = 20 + 115 * i
        parts.append(f'<rect x="{x}" y="16" width="12" height="12" fill="{COLOURS[i]}"/>')
        parts.append(f'<text x="{x + 17}" y="26">{name}</text>')
    y = TOP
    for of in dict.fromkeys(each.of for each in found):
        mine = [each for each in found if each.of == of]
        parts.append(f'<text x="{LEFT - 8}" y="{y + len(mine) * BAR / 2 + 4:.0f}" text-anchor="end">{of}</text>')
        for each in mine:
            wide = each.macro_f1 * (WIDTH - 60)
            colour = COLOURS[names.index(each.reader)]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR - 1}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + wide + 5:.1f}" y="{y + BAR - 3}" font-size="10">{each.macro_f1:.3f}</text>')
            y += BAR
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH}" height="{y + 20}" font-family="sans-serif"'
        f' font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}'
        f'<text x="{LEFT}" y="{y + 6}" fill="#777">macro-F1: mean F1 of bullish, neutral, bearish</text></svg>\n'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Measure how well the offline voters judge labelled sentences.")
    parser.add_argument(
        "--tune", action="store_true", help="print what other thresholds of the learnt voters do: minutes"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the first table here, as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    arguments = parser.parse_args(argv)
    if arguments.tune:
        for trio in TRIOS.values():
            for threshold, alone, vote in tuned(trio):
                print(f"{trio[-1].lexicon} at {threshold:.2f}: macro-F1 {alone:.4f} alone, {vote:.4f} by two of three")
        return
    found = list(measured())
    _print(found)
    for voter in (FINANCE, LETTERS):
        _print_confidence(voter)
    if arguments.plot:
        arguments.plot.write_text(drawn(found), encoding="utf-8")
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


if __name__ == "__main__":
    main()
