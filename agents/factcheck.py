"""Which texts may be shown to models: known source, fresh, not said before, and not contradicted by the prices.

Every text gets exactly one answer: vetted, discarded with a reason, or flagged. A flagged text may wait: for a person,
and a claim for a second source; then it is vetted or discarded later, by what decides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

import msgspec

from agents import features as f
from agents.agent import Agent, Handler, State
from agents.disguise import cleaned, folded, skeleton
from agents.features import Features
from agents.injection import FLAGGED_FROM, screen
from agents.lexicon import MOVE_CLAIMS, claims, polarity, words
from agents.rules import ANCHOR_BARS
from agents.similarity import contained, similar, sketch
from schemas.base import NS_PER_MIN, NS_PER_S, Event
from schemas.book import Book
from schemas.control import TextAccepted, TextRejected
from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
from schemas.operations import AlertRaised
from schemas.texts import NewsPublished, TweetPosted

MAX_REMEMBERED = 4096
"""Texts held for comparison word by word, and names; the oldest go first."""
MAX_COMPARED = 512
"""Vetted texts held for comparison by similarity; the oldest go first."""
MAX_WAITING = 256
EXCERPT_CHARS = 280
CONTAINED_PCT = 80
"""A text that another holds to this part says nothing new, as a headline without its article."""
CLAIM_SIMILAR_PCT = 30
"""Two texts that make the same kind of claim and are this similar claim the same."""


class Said(msgspec.Struct, kw_only=True):
    """A text for comparison; while it waits, `reason` says why and `expires_at` until when."""

    id: str
    key: str
    source: str
    observed_at: int
    sentiment: float
    claims: tuple[str, ...] = ()
    """Kinds of claims that it makes."""
    sketch: bytes = b""
    """See `agents.similarity`; empty where the book compares words alone."""
    reason: str = ""
    expires_at: int = 0


class FactcheckState(State, kw_only=True):
    """`seen`: fingerprint of a text's words to when it was first observed, oldest first."""

    seen: dict[str, int]
    vetted: list[Said] = msgspec.field(default_factory=list)
    """Oldest first; empty where the book compares words alone."""
    waiting: dict[str, Said] = msgspec.field(default_factory=dict)
    """By the text's id, oldest first."""
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """What a source that was vetted looks like, to its name, where the book names no sources."""


class Factcheck(Agent[FactcheckState]):
    """Vets each text, or says why not."""

    name = "factcheck"

    def __init__(self, book: Book, features: Features) -> None:
        """`features` shows what prices did."""
        super().__init__(book, FactcheckState(seen={}))
        self._features = features
        self._sources = frozenset(source.casefold() for source in book.text.sources)
        self._looks = frozenset(skeleton(source) for source in book.text.sources)
        settings = book.text.preset()
        self._strict = settings.defences == "strict"
        self._similar_pct = settings.similar_pct or 0
        self._contained_pct = max(CONTAINED_PCT, self._similar_pct)
        self._corroborate = (settings.corroborate_min or 0) * NS_PER_MIN
        self._review = (settings.review_min or 0) * NS_PER_MIN
        self._compares = bool(self._similar_pct or self._corroborate)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Tweets and news, and what a person says of those that were flagged."""
        return {
            TweetPosted: self.on_tweet_posted,
            NewsPublished: self.on_news_published,
            TextAccepted: self.on_text_accepted,
            TextRejected: self.on_text_rejected,
        }

    def on_tweet_posted(self, event: TweetPosted) -> Iterator[Event]:
        """Vet a post."""
        own = not event.is_retweet and not event.text.startswith("RT @")
        return self._vet(event, event.author, event.text, own=own)

    def on_news_published(self, event: NewsPublished) -> Iterator[Event]:
        """Vet an article."""
        return self._vet(event, event.source, f"{event.title}. {event.text}", own=True)

    def _vet(self, event: Event, source: str, text: str, *, own: bool) -> Iterator[Event]:
        """Give a text its one answer, after those that it releases. `own` are the source's own words."""
        tokens = words(folded(cleaned(text)) if self._strict else text)
        unfit = self._unfit(event, source, tokens)
        if unfit:
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason=unfit)
            return
        said = self._record(event, source, tokens)
        if self._strict and (screening := screen(text)).score >= FLAGGED_FROM:
            claim = ", ".join(screening.rules)
            yield self._flag(event, said, text, "injection", claim=claim, score=screening.score)
            return
        released = self._claiming_the_same(said, self.state.waiting.values()) if own else []
        if self._is_again(said, tokens, released=bool(released)):
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason="duplicate")
        elif (move_pct := self._missing_move(event, tokens)) is not None:
            claim = " ".join(token for token in tokens if token in MOVE_CLAIMS)
            yield self._flag(event, said, text, "no_price_move", claim=claim, move_pct=move_pct)
        elif self._corroborate and said.claims and not (released or self._stands(said, own=own)):
            yield self._flag(event, said, text, "uncorroborated", claim=", ".join(said.claims))
        else:
            for each in released:
                del self.state.waiting[each.id]
                yield self._pass(event, each, text=each.id)
            yield self._pass(event, said)

    def _unfit(self, event: Event, source: str, tokens: list[str]) -> str:
        """Say why a text is not worth a look at what it says; empty if it is."""
        if self._sources and source.casefold() not in self._sources:
            return "disguised" if self._strict and skeleton(source) in self._looks else "unknown_source"
        if self._strict and not source.isascii() and not self._sources:
            name = source.casefold()
            if self.state.names.get(skeleton(source), name) != name:
                return "disguised"
        if not tokens:
            return "empty"
        return "stale" if event.observed_at - event.occurred_at > self.book.text.max_age_s * NS_PER_S else ""

    def _record(self, event: Event, source: str, tokens: list[str]) -> Said:
        return Said(
            id=event.id,
            key=event.key,
            source=source,
            observed_at=event.observed_at,
            sentiment=polarity(tokens),
            claims=claims(tokens) if self._corroborate else (),
            sketch=sketch(tokens) if self._compares else b"",
        )

    # Said before

    def _is_again(self, said: Said, tokens: list[str], *, released: bool) -> bool:
        """Tell whether a text says what was said lately. What waits for a second source may be said again by one."""
        self._forget(said.observed_at)
        worded_before = self._said_before(tokens, said.observed_at)
        if self._is_copy(said, self.state.vetted):
            return True
        if released:
            return False
        waiting = [each for each in self.state.waiting.values() if each.reason != "injection"]
        return worded_before or self._is_copy(said, waiting)

    def _is_copy(self, said: Said, others: list[Said]) -> bool:
        if not self._similar_pct:
            return False
        near = [each.sketch for each in others if each.key == said.key]
        return any(similar(said.sketch, near, self._similar_pct)) or any(
            contained(said.sketch, near, self._contained_pct)
        )

    def _forget(self, now: int) -> None:
        """Let go of what is too old to count."""
        oldest = now - self.book.text.dedupe_hours * 3600 * NS_PER_S
        vetted, waiting = self.state.vetted, self.state.waiting
        while vetted and (len(vetted) > MAX_COMPARED or vetted[0].observed_at < oldest):
            del vetted[0]
        for text in [text for text, said in waiting.items() if said.expires_at < now]:
            del waiting[text]

    def _said_before(self, tokens: list[str], now: int) -> bool:
        """Tell whether the same words were seen lately; remembers them if not."""
        seen = self.state.seen
        oldest = now - self.book.text.dedupe_hours * 3600 * NS_PER_S
        while seen and (len(seen) >= MAX_REMEMBERED or next(iter(seen.values())) < oldest):
            del seen[next(iter(seen))]
        fingerprint = blake2b(" ".join(tokens).encode(), digest_size=8).hexdigest()
        if fingerprint in seen:
            return True
        seen[fingerprint] = now
        return False

    # Claims

    def _missing_move(self, event: Event, tokens: list[str]) -> float | None:
        """Give the largest move, in percent, where a text claims a violent one and no instrument concerned made it."""
        moves = [
            f.window_move_pct(row)
            for instrument, row in zip(self._features.instruments, self._features.state.rows, strict=True)
            if row[f.BARS] > ANCHOR_BARS and self._features.concerns(event.key, instrument)
        ]
        largest = max((abs(move) for move in moves), default=None)
        if largest is None or largest >= self.book.text.crash_move_pct:
            return None
        return largest if any(token in MOVE_CLAIMS for token in tokens) else None

    def _claiming_the_same(self, said: Said, others: Iterable[Said]) -> list[Said]:
        """Give those of the texts that claim the like within the window, each of another source that the book names."""
        if not said.claims or said.source.casefold() not in self._sources:
            return []
        oldest = said.observed_at - self._corroborate
        near = [
            each
            for each in others
            if each.observed_at >= oldest
            and each.key == said.key
            and each.reason != "injection"
            and each.source.casefold() != said.source.casefold()
            and each.source.casefold() in self._sources
            and any(kind in said.claims for kind in each.claims)
        ]
        alike = similar(said.sketch, [each.sketch for each in near], CLAIM_SIMILAR_PCT)
        return [each for each, is_alike in zip(near, alike, strict=True) if is_alike]

    def _stands(self, said: Said, *, own: bool) -> bool:
        """Tell whether another source has claimed the like, and was believed."""
        return own and bool(self._claiming_the_same(said, self.state.vetted))

    # What comes of a text

    def _pass(self, cause: Event, said: Said, text: str = "") -> Event:
        """Let a text pass, and remember it."""
        if self._compares:
            said.reason, said.expires_at = "", 0
            self.state.vetted.append(said)
        if self._strict and not self._sources:
            names = self.state.names
            while len(names) >= MAX_REMEMBERED:
                del names[next(iter(names))]
            names.setdefault(skeleton(said.source), said.source.casefold())
        return self.emit(NewsVetted, cause, said.key, source=said.source, sentiment=said.sentiment, text=text)

    def _flag(
        self, event: Event, said: Said, text: str, reason: str, *, claim: str, move_pct: float = 0.0, score: int = 0
    ) -> Event:
        """Keep a text from the models; let it wait if the book says so. A copy of what waits is dropped."""
        patience = max(self._review, self._corroborate if reason == "uncorroborated" else 0)
        if patience:
            alike = [each for each in self.state.waiting.values() if each.reason == reason]
            if reason == "injection" and self._is_copy(said, alike):
                return self.emit(NewsDiscarded, event, said.key, source=said.source, reason="duplicate")
            said.reason, said.expires_at = reason, said.observed_at + patience
            self.state.waiting[said.id] = said
            while len(self.state.waiting) > MAX_WAITING:
                del self.state.waiting[next(iter(self.state.waiting))]
        return self.emit(
            NewsFlagged,
            event,
            said.key,
            source=said.source,
            reason=reason,
            claim=claim[:200],
            move_pct=move_pct,
            score=score,
            excerpt=cleaned(text)[:EXCERPT_CHARS] if patience else "",
            expires_at=said.expires_at,
        )

    # People

    def on_text_accepted(self, event: TextAccepted) -> Iterator[Event]:
        """Let a text pass that waited."""
        said = self._awaited(event, event.text)
        yield self._pass(event, said, text=said.id) if said else self._too_late(event, event.text)

    def on_text_rejected(self, event: TextRejected) -> Iterator[Event]:
        """Drop a text that waited."""
        said = self._awaited(event, event.text)
        if said:
            yield self.emit(NewsDiscarded, event, said.key, source=said.source, reason="rejected", text=said.id)
        else:
            yield self._too_late(event, event.text)

    def _awaited(self, event: Event, text: str) -> Said | None:
        """Take a text out of those that wait, unless its time is up."""
        self._forget(event.observed_at)
        return self.state.waiting.pop(text, None)

    def _too_late(self, event: Event, text: str) -> Event:
        said = f"text {text} does not wait for a person: it was decided, came too late, or is unknown"
        return self.emit(AlertRaised, event, severity="warning", text=said)
