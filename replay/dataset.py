"""What models were asked, answered and got right, as a dataset for fine-tuning: one line a question, split by time.

Training ends a whole horizon before validation begins, so that no outcome of the one is known from prices of the other
(Lopez de Prado 2018, Advances in Financial Machine Learning, ch. 7: purging). See docs/dataset.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from connectors.models.answers import ANSWER_SCHEMA
from connectors.models.prompts import Rendered, render, sent_sha256
from replay.log import JOURNAL
from replay.rundir import RunDir
from schemas.accounting import OutcomeMeasured
from schemas.base import NS_PER_S
from schemas.errors import ArchiveError
from schemas.verdicts import VerdictGiven, VerdictRequested

TRAIN, VALIDATION, MANIFEST = "train.jsonl", "validation.jsonl", "manifest.json"
BEDROCK_VERSION = "bedrock-conversation-2024"
Format = Literal["chat", "openai", "bedrock"]
Label = Literal["correct", "hold", "unmeasured", "wrong"]
LABELS: tuple[Label, ...] = ("correct", "hold", "unmeasured", "wrong")
"""What came of an answer. HOLD predicts nothing; what is unmeasured had a horizon beyond the end of its run. Where
several models answered a question, the answer whose label stands first is taken."""


class Example(NamedTuple):
    """A question, an answer, and what came of it."""

    request: VerdictRequested
    verdict: VerdictGiven
    outcome: OutcomeMeasured | None
    prompt: Rendered

    @property
    def asked_at(self) -> int:
        """Give the time of the question."""
        return self.request.observed_at

    @property
    def until(self) -> int:
        """Give the time at which the outcome was known; of an answer without one, of the answer."""
        return self.outcome.observed_at if self.outcome else self.verdict.observed_at

    @property
    def label(self) -> Label:
        """Say what came of the answer."""
        if self.verdict.action == "HOLD":
            return "hold"
        if self.outcome is None:
            return "unmeasured"
        return "correct" if self.outcome.correct else "wrong"


class Split(NamedTuple):
    """Examples by what they are for, each in the order of time."""

    train: list[Example]
    validation: list[Example]
    purged: int
    """Left out of both: their horizon may reach into the validation."""
    at: int
    """Time from which questions are validation, in ns; 0 where there is none."""
    gap_ns: int
    """The longest horizon, by which training ends sooner."""


# Reading


def read_examples(runs: Iterable[Path], model: str = "") -> list[Example]:
    """Read what a model, or all, answered in these runs; each question once, in the order of time.

    Raises ArchiveError where a run keeps no questions, or nothing was answered.
    """
    found: dict[str, Example] = {}
    models: set[str] = set()
    for root in runs:
        for example in _of_run(RunDir(root)):
            models.add(example.verdict.model)
            if model in ("", example.verdict.model):
                key = sent_sha256(example.prompt)
                found[key] = min(found.get(key, example), example, key=_preference)
    if not found:
        named = (
            f"none of {model!r}; there are answers of {', '.join(sorted(models))}" if models else "no model's answer"
        )
        raise ArchiveError(f"the runs hold {named}, so there is nothing to export")
    return sorted(found.values(), key=lambda example: (example.asked_at, example.request.id))


def _of_run(run: RunDir) -> Iterator[Example]:
    if run.kept() != "full":
        raise ArchiveError(f"{run.root}: its log keeps no questions and answers; replay it with --log full")
    requests = {request.id: request for request in run.events("verdict-requests", VerdictRequested)}
    outcomes = {outcome.prediction: outcome for outcome in run.events("portfolio", OutcomeMeasured)}
    for verdict in run.events(JOURNAL, VerdictGiven):
        request = requests.get(verdict.cause)
        if request is None:
            raise ArchiveError(f"{run.root}: the question of verdict {verdict.id} is not in its log; was it cut off?")
        yield Example(request, verdict, outcomes.get(verdict.id), render(request))


def _preference(example: Example) -> tuple[int, int, float, str]:
    verdict = example.verdict
    return LABELS.index(example.label), example.asked_at, -verdict.confidence, verdict.model


# Splitting


def split(examples: Sequence[Example], share: float, at: int | None = None) -> Split:
    """Split by time: validation is what was asked from `at` on, else the newest `share` of the questions.

    Raises ArchiveError where that leaves nothing on one side. A share of 0 makes no validation.
    """
    ordered = sorted(examples, key=lambda example: (example.asked_at, example.request.id))
    gap = max((example.until - example.asked_at for example in ordered), default=0)
    if at is None:
        count = ceil(len(ordered) * share)
        if not count:
            return Split(ordered, [], 0, 0, gap)
        at = ordered[-count].asked_at
    train = [example for example in ordered if example.asked_at + gap < at]
    validation = [example for example in ordered if example.asked_at >= at]
    if not train or not validation:
        side = "validate on" if train else "train on"
        raise ArchiveError(
            f"a split at {_time(at)} leaves nothing to {side}: the questions reach from {_time(ordered[0].asked_at)} to"
            f" {_time(ordered[-1].asked_at)}, and training ends {gap / NS_PER_S / 60:,.0f} min before the split"
        )
    return Split(train, validation, len(ordered) - len(train) - len(validation), at, gap)


# Writing


def answer_of(verdict: VerdictGiven) -> dict[str, Any]:
    """Give the answer in its form: the input of the tool, or the JSON, with which a model would have given it."""
    told = {name: getattr(verdict, name) for name in ANSWER_SCHEMA["properties"]}
    return {name: value for name, value in told.items() if value is not None}


def _chat(example: Example) -> dict[str, Any]:
    request, verdict, outcome = example.request, example.verdict, example.outcome
    measured = outcome and {name: getattr(outcome, name) for name in ("return_pct", "horizon_ms", "correct")}
    return {
        "messages": [
            {"role": "system", "content": example.prompt.system},
            {"role": "user", "content": example.prompt.user},
            {"role": "assistant", "content": _json(answer_of(verdict))},
        ],
        "metadata": {
            "model": verdict.model,
            "model_version": verdict.model_version,
            "prompt_version": request.prompt_version,
            "instrument": request.instrument,
            "asked_at": _time(request.observed_at),
            "label": example.label,
            "outcome": measured,
        },
    }


def _openai(example: Example) -> dict[str, Any]:
    """Answer with the JSON itself: so is a model of this service asked, by the form of its reply and without a tool."""
    return {"messages": _chat(example)["messages"]}


def _bedrock(example: Example) -> dict[str, Any]:
    return {
        "schemaVersion": BEDROCK_VERSION,
        "system": [{"text": example.prompt.system}],
        "messages": [
            {"role": "user", "content": [{"text": example.prompt.user}]},
            {"role": "assistant", "content": [{"text": _json(answer_of(example.verdict))}]},
        ],
    }


FORMATS: Mapping[Format, Callable[[Example], dict[str, Any]]] = {"chat": _chat, "openai": _openai, "bedrock": _bedrock}


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a dataset."""

    name: str
    lines: int
    bytes: int
    sha256: str
    counts: dict[str, dict[str, int]]
    """Lines by model and label."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset is made of; the same runs and settings give the same bytes."""

    format: Format
    runs: tuple[str, ...]
    """Of each, the digest of its log."""
    model: str
    only: str
    split_at: str
    purge_gap_s: float
    purged: int
    prompt_versions: tuple[str, ...]
    files: tuple[Written, ...]


def export(
    runs: Sequence[Path], out: Path, form: Format, share: float, at: int | None, only: str, model: str
) -> Manifest:
    """Write a dataset into a new folder. Raises ArchiveError, and writes nothing, where there is none to write."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArchiveError(f"{out}: exists already and is not empty; choose another folder")
    examples = [example for example in read_examples(runs, model) if only == "all" or example.label == "correct"]
    if not examples:
        raise ArchiveError("no answer in the runs turned out correct, so there is nothing to export; take --only all")
    parts = split(examples, share, at)
    files = [(TRAIN, parts.train), (VALIDATION, parts.validation)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            format=form,
            runs=tuple(_log_sha256(root) for root in runs),
            model=model,
            only=only,
            split_at=_time(parts.at) if parts.at else "",
            purge_gap_s=parts.gap_ns / NS_PER_S,
            purged=parts.purged,
            prompt_versions=tuple(sorted({example.request.prompt_version for example in examples})),
            files=tuple(_write(out / name, found, FORMATS[form]) for name, found in files if found),
        )
        (out / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    except OSError as error:
        raise ArchiveError(f"{out}: cannot be written: {error.strerror or error}") from None
    return manifest


def _write(path: Path, examples: Sequence[Example], line_of: Callable[[Example], dict[str, Any]]) -> Written:
    data = b"".join(msgspec.json.encode(line_of(example)) + b"\n" for example in examples)
    path.write_bytes(data)
    counts: dict[str, dict[str, int]] = {}
    for (model, label), count in sorted(Counter((each.verdict.model, each.label) for each in examples).items()):
        counts.setdefault(model, {})[label] = count
    return Written(name=path.name, lines=len(examples), bytes=len(data), sha256=sha256(data).hexdigest(), counts=counts)


def _log_sha256(root: Path) -> str:
    sums = root / "log" / "SHA256SUMS"
    return sha256(sums.read_bytes()).hexdigest() if sums.is_file() else ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
