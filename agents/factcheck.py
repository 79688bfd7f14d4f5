"""Which texts may be shown to models: known source, fresh, not said before, and not contradicted by the prices.

Every text gets exactly one answer: vetted, discarded with a reason, or flagged with the claim and what prices show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b

from agents import features as f
from agents.agent import Agent, Handler, State
from agents.features import Features
from agents.lexicon import MOVE_CLAIMS, polarity, words
from agents.rules import ANCHOR_BARS
from schemas.base import NS_PER_S, Event
from schemas.book import Book
from schemas.decisions import NewsDiscarded, NewsFlagged, NewsVetted
from schemas.texts import NewsPublished, TweetPosted

MAX_REMEMBERED = 4096
"""Texts held for comparison; the oldest go first."""


class FactcheckState(State, kw_only=True):
    """`seen`: fingerprint of a text's words to when it was first observed, oldest first."""

    seen: dict[str, int]


class Factcheck(Agent[FactcheckState]):
    """Vets each text, or says why not."""

    name = "factcheck"

    def __init__(self, book: Book, features: Features) -> None:
        """`features` shows what prices did."""
        super().__init__(book, FactcheckState(seen={}))
        self._features = features
        self._sources = frozenset(source.casefold() for source in book.text.sources)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Tweets and news."""
        return {TweetPosted: self.on_tweet_posted, NewsPublished: self.on_news_published}

    def on_tweet_posted(self, event: TweetPosted) -> Iterator[Event]:
        """Vet a post."""
        return self._vet(event, event.author, event.text)

    def on_news_published(self, event: NewsPublished) -> Iterator[Event]:
        """Vet an article."""
        return self._vet(event, event.source, f"{event.title}. {event.text}")

    def _vet(self, event: Event, source: str, text: str) -> Iterator[Event]:
        tokens = words(text)
        if self._sources and source.casefold() not in self._sources:
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason="unknown_source")
        elif not tokens:
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason="empty")
        elif event.observed_at - event.occurred_at > self.book.text.max_age_s * NS_PER_S:
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason="stale")
        elif self._said_before(tokens, event.observed_at):
            yield self.emit(NewsDiscarded, event, event.key, source=source, reason="duplicate")
        else:
            yield self._held_against_prices(event, source, tokens)

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

    def _held_against_prices(self, event: Event, source: str, tokens: list[str]) -> Event:
        """Flag a claim of a violent move that no instrument concerned has made; vet everything else."""
        claim = " ".join(token for token in tokens if token in MOVE_CLAIMS)
        moves = [
            f.window_move_pct(row)
            for instrument, row in zip(self._features.instruments, self._features.state.rows, strict=True)
            if row[f.BARS] > ANCHOR_BARS and self._features.concerns(event.key, instrument)
        ]
        largest = max((abs(move) for move in moves), default=None)
        if claim and largest is not None and largest < self.book.text.crash_move_pct:
            return self.emit(
                NewsFlagged,
                event,
                event.key,
                source=source,
                reason="no_price_move",
                claim=claim[:200],
                move_pct=largest,
            )
        return self.emit(NewsVetted, event, event.key, source=source, sentiment=polarity(tokens))
