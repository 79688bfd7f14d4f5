"""A run of some months that never ran: questions, entries and exits, refusals, breakers, hostile tweets."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

from schemas.base import NS_PER_DAY, NS_PER_MS, NS_PER_S
from schemas.control import BookPaused, BookResumed
from schemas.decisions import (
    BreakerReset,
    BreakerTripped,
    Clamp,
    ConsensusReached,
    NewsDiscarded,
    NewsFlagged,
    NewsVetted,
    TradeProposed,
    TradeRejected,
)
from schemas.operations import AlertRaised
from schemas.texts import TweetPosted
from tests.replay.fake_run import MODELS, START, FakeRun, book_of

HOSTILE = 'BTC to the moon </script><script>alert("pwned")</script><!-- <img src=x onerror=alert(1)> {{7*7}} ="x"'


def plausible(root: Path, *instruments: str, days: int = 60, every_h: int = 6, seed: int = 7) -> Path:
    """Write such a run; a question every `every_h` hours on each instrument."""
    chance = random.Random(seed)
    run = FakeRun(root, book_of(*(instruments or ("BTC/USD@bitfinex",))))
    for hour in range(days * 24 + 1):
        at = START + hour * 3600 * NS_PER_S
        for name in run.last:
            _walk(run, name, at, chance)
            if hour % every_h == 0 and hour:
                _decide(run, name, at, chance)
        if hour % 97 == 5:
            _trouble(run, at, hour)
        run.mark(at)
    return run.write()


def _walk(run: FakeRun, name: str, at: int, chance: random.Random) -> None:
    start = 1000.0 if "BTC" in name else 50.0
    run.price(name, at, round((run.last[name] or start) * (1 + chance.gauss(0.0004, 0.008)), 2))


def _tweet(run: FakeRun, at: int, chance: random.Random) -> TweetPosted:
    said = ("Bitcoin breaks out again, volume is real", "China bans exchanges? Again?", HOSTILE)
    text = chance.choice(said)
    id = f"tweet-{run.made}\"'<&"
    tweet: TweetPosted = run.add(TweetPosted, at - NS_PER_S, "BTC", id=id, author="@whale_<b>", text=text)
    run.add(NewsVetted, at - NS_PER_S, cause=tweet.id, source=tweet.author, sentiment=0.4)
    return tweet


def _decide(run: FakeRun, name: str, at: int, chance: random.Random) -> None:
    texts = [_tweet(run, at, chance) for _ in range(chance.randrange(3))]
    votes = [(chance.choice(("BUY", "SELL", "HOLD", "")), round(chance.random(), 3), HOSTILE) for _ in MODELS]
    signal = run.question(name, at, votes, texts)
    held = run.held[name][0]
    if not isinstance(signal, ConsensusReached) or signal.action == "HOLD":
        return
    wanted = 1 if signal.action == "BUY" else -1
    later = at + 400 * NS_PER_MS
    if held and (held > 0) != (wanted > 0):
        order = run.order(name, later, "sell" if held > 0 else "buy", str(abs(held)), role="exit", consensus=signal.id)
    elif not held:
        quantity = str(round(Decimal(10_000) / Decimal(str(run.last[name])), 4))
        clamp = Clamp(limit="max_position_pct", value=Decimal(10), before=Decimal(14_200), after=Decimal(10_000))
        side = "buy" if wanted > 0 else "sell"
        order = run.order(name, later, side, quantity, consensus=signal.id, clamps=(clamp,))
    else:
        return
    price = Decimal(str(round(run.last[name] * (1.0002 if order.side == "buy" else 0.9998), 2)))
    half = round(order.quantity / 2, 4)
    for part in (half, order.quantity - half):
        fee = round(part * price * Decimal("0.001"), 8)
        run.fill(order, later + 200 * NS_PER_MS, str(price), str(part), fee=str(fee))


def _trouble(run: FakeRun, at: int, hour: int) -> None:
    name = next(iter(run.last))
    refused = run.add(
        TradeProposed,
        at,
        instrument=name,
        mode="consensus",
        target="long",
        conviction=0.4,
        price=run.last[name],
        reason="EMA 20 crossed above EMA 50",
    )
    run.add(TradeRejected, at, instrument=name, proposal=refused.id, reason="breaker", limit="drawdown", value="11.2")
    run.add(BreakerTripped, at, rule="drawdown", limit=10.0, value=11.2, until=at + NS_PER_DAY)
    run.add(BreakerReset, at + NS_PER_DAY, rule="drawdown", reason="cooldown")
    tweet = run.add(TweetPosted, at, "BTC", id=f"fake-{hour}", author="@scam", text=HOSTILE)
    run.add(
        NewsFlagged,
        at,
        cause=tweet.id,
        source="@scam",
        reason="no_price_move",
        claim="crash <b>now</b>",
        move_pct=0.02,
    )
    run.add(NewsDiscarded, at, cause=tweet.id, source="@scam", reason="duplicate")
    run.add(AlertRaised, at, severity="warning", text="drawdown breaker tripped <b>")
    run.add(BookPaused, at, operator="ann", reason="lunch")
    run.add(BookResumed, at + 1, operator="ann")
