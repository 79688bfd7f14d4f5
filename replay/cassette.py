"""Recorded verdicts, read back strictly: each belongs to one model and one prompt, and answers it again for ever.

A line that cannot be read is an error with its place. It is never taken for a missing answer, which would turn
damage into new calls.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from replay.ahead import ahead
from replay.files import EVERYTHING, Place, find_files, tables
from replay.listing import ALWAYS
from replay.tape import is_tape, read_tape
from schemas.base import NS_PER_MS, Event
from schemas.codec import decode
from schemas.errors import ArchiveError, RefusedError
from schemas.verdicts import VerdictFailed, VerdictGiven, VerdictRequested

Verdict: TypeAlias = VerdictGiven | VerdictFailed
Key = tuple[str, str, str]
"""Model, parameters_sha256, and prompt_sha256 or the id of a request."""
NO_ANSWERS = frozenset({"not_recorded", "over_budget"})
"""Reasons of a failure for which nobody was asked."""
_TYPES = frozenset({"VerdictGiven", "VerdictFailed"})


class _Head(msgspec.Struct):
    type: str


_head = msgspec.json.Decoder(_Head)


class RecordedVerdicts:
    """Verdicts by model, parameters and prompt, in memory.

    The same prompt may have been put more than once, and a model need not have said the same each time. So a request
    gets the answer that was given to that very request; else the last answer to the prompt that was asked for no
    later than now; else the earliest. That needs no memory of what was served, so a run that resumes gets the same.

    A failure `not_recorded` or `over_budget` is the trace of an answer that is missing, and is no answer here. What a
    model said with other parameters is no answer either.
    """

    def __init__(self, verdicts: Iterable[tuple[str, Verdict]] = ()) -> None:
        """Take (place, verdict) pairs. Raises ArchiveError where two contradict each other."""
        self._by_key: dict[Key, list[Verdict]] = {}
        self._by_request: dict[Key, Verdict] = {}
        for place, verdict in verdicts:
            self.add(place, verdict)

    @classmethod
    def load(cls, path: Place) -> RecordedVerdicts:
        """Read the verdicts of a run's folder (`log/journal.jsonl`), a cassette, or an archive (topic `verdicts`).

        An archive without that topic has none. Raises ArchiveError, with the place, where there is no such folder
        or an entry cannot be read.
        """
        if isinstance(path, str):
            return cls(_of_archive(path))
        journal = path / "log" / "journal.jsonl"
        if journal.is_file():
            return cls(_of_journal(journal))
        if is_tape(path):
            return cls(verdicts_of(read_tape(path)))
        if (path / "log").is_dir():
            raise ArchiveError(f"{journal}: there is no such file, so the run left no verdicts to read")
        return cls(_of_archive(path))

    def __len__(self) -> int:
        """Count the verdicts."""
        return sum(map(len, self._by_key.values()))

    def find(self, request: VerdictRequested, parameters: str = "") -> Verdict | None:
        """Give the recorded answer to a request, as it was recorded; None where there is none.

        `parameters` is the digest of those that the model has now; empty of a voter without a network. A failure that
        names none, as one that came before the model was called, answers its very request alone.
        """
        own = self._by_request.get((request.model, parameters, request.id))
        if own is None and parameters:
            own = self._by_request.get((request.model, "", request.id))
            own = own if isinstance(own, VerdictFailed) else None
        if own is not None and own.prompt_sha256 == request.prompt_sha256:
            return own
        answers = self._by_key.get((request.model, parameters, request.prompt_sha256))
        if not answers:
            return None
        return answers[max(0, bisect_right(answers, request.observed_at, key=_asked_at) - 1)]

    def only(self, model: str, prompt_sha256: str, parameters: str = "") -> Verdict | None:
        """Give a model's answer to a prompt where the record has just one; None where it has none, or several."""
        answers = self._by_key.get((model, parameters, prompt_sha256), ())
        return answers[0] if len(answers) == 1 else None

    def mean_reply_tokens(self, model: str) -> int:
        """Give the mean length of a model's recorded answers; 0 where there are none that tell."""
        told = [
            verdict.reply_tokens
            for (name, _, _), verdicts in self._by_key.items()
            if name == model
            for verdict in verdicts
            if verdict.reply_tokens
        ]
        return sum(told) // len(told) if told else 0

    def add(self, place: str, verdict: Verdict) -> None:
        """Take one more. Raises ArchiveError, with its place, where it contradicts another or answers nothing."""
        if isinstance(verdict, VerdictFailed) and verdict.reason in NO_ANSWERS:
            return
        if not verdict.prompt_sha256:
            raise ArchiveError(f"{place}: verdict {verdict.id} names no prompt_sha256, so it answers nothing")
        model, parameters = verdict.model, verdict.parameters_sha256
        if verdict.cause:
            earlier = self._by_request.setdefault((model, parameters, verdict.cause), verdict)
            if earlier is not verdict:
                if _content(earlier) == _content(verdict):
                    return
                raise ArchiveError(
                    f"{place}: verdict {verdict.id} of {model!r} contradicts {earlier.id}, which answers the"
                    f" same request {verdict.cause}; keep one of them"
                )
        insort(self._by_key.setdefault((model, parameters, verdict.prompt_sha256), []), verdict, key=_order)


def _order(verdict: Verdict) -> tuple[int, str]:
    return _asked_at(verdict), verdict.id


def _asked_at(verdict: Verdict) -> int:
    return verdict.observed_at - verdict.latency_ms * NS_PER_MS


def _content(verdict: Verdict) -> Verdict:
    """Strip what a journal adds, so that a verdict archived and journaled is one verdict."""
    return msgspec.structs.replace(verdict, book="", seq=0)


def verdicts_of(entries: Iterable[tuple[str, Event]]) -> Iterator[tuple[str, Verdict]]:
    """Give the verdicts among (place, event) pairs."""
    for place, event in entries:
        if isinstance(event, VerdictGiven | VerdictFailed):
            yield place, event


def _of_journal(path: Path) -> Iterator[tuple[str, Verdict]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}, line {number}"
            if not line.endswith(b"\n"):
                raise ArchiveError(f"{place}: the line is cut off; remove it, or take a whole journal")
            verdict = _verdict(place, line[:-1])
            if verdict is not None:
                yield place, verdict


def _of_archive(root: Place) -> Iterator[tuple[str, Verdict]]:
    files = [file for file in find_files(root, *ALWAYS) if file.kind == "verdicts"]
    for file in ahead(files, EVERYTHING):
        payloads = (payload for table in tables(file) for payload in table["event"].to_pylist())
        for number, payload in enumerate(payloads, start=1):
            place = f"{file.place}, row {number}"
            verdict = _verdict(place, payload)
            if verdict is not None:
                yield place, verdict


def _verdict(place: str, payload: bytes) -> Verdict | None:
    """Read one event; None where it is whole but no verdict."""
    try:
        if _head.decode(payload).type not in _TYPES:
            return None
        event = decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RefusedError) as error:
        raise ArchiveError(f"{place}: not a whole event: {error}; restore it from a copy") from None
    assert isinstance(event, VerdictGiven | VerdictFailed)  # noqa: S101
    return event
