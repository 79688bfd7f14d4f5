"""Synthetic markets: the same from a seed, sane, and with a press that knows more than the price."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from agents.lexicon import MOVE_CLAIMS, words
from connectors.archive import SCHEMAS
from connectors.columns import faults
from connectors.voters.lexicons import textblob_score, vader_score
from replay.synthetic import Scenario, walk, write_archive, write_bars
from replay.synthetic.market import CRASH_AT_MIN, CRASH_MIN, REBOUND_MIN, daily_bars
from replay.synthetic.press import ATTACK_POSTS, stories_of
from replay.synthetic.scenario import MINUTES, day_start_ns
from replay.synthetic.walk import BLOCK_BARS
from schemas.base import NS_PER_DAY, NS_PER_MIN

BTC, ETH = "BTC/USD@synthetic", "ETH/USD@synthetic"


def rows_of(root: Path, kind: str) -> pa.Table:
    """Give all rows of a kind, in order."""
    tables = [pq.read_table(path, schema=SCHEMAS[kind]) for path in sorted(root.rglob(f"{kind}-*.parquet"))]
    keyed = [
        table.set_column(1 if kind in ("tweets", "news") else 0, "key", table["key"].cast(pa.string()))
        for table in tables
    ]
    return pa.concat_tables(keyed).sort_by([("key", "ascending"), ("observed_at", "ascending")])


def made(folder: Path, scenario: Scenario, kind: str = "bars") -> pa.Table:
    write_archive(folder, scenario)
    return rows_of(folder, kind)


def columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table[name].to_numpy() for name in table.column_names}


def test_a_seed_is_a_market(tmp_path: Path) -> None:
    first, again = made(tmp_path / "a", Scenario(days=2)), made(tmp_path / "b", Scenario(days=2))
    other = made(tmp_path / "c", Scenario(days=2, seed=2))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize("kind", ["bars", "tweets", "news"])
def test_a_longer_market_begins_with_the_shorter_one(kind: str, tmp_path: Path) -> None:
    short = made(tmp_path / "a", Scenario(days=2, gaps=True), kind)
    long = made(tmp_path / "b", Scenario(days=4, gaps=True), kind)
    assert short.equals(long.slice(0, short.num_rows))
    assert long.num_rows > short.num_rows


@pytest.mark.parametrize("kind", ["bars", "tweets", "news"])
def test_another_instrument_leaves_the_first_as_it_was(kind: str, tmp_path: Path) -> None:
    alone = made(tmp_path / "a", Scenario(days=2), kind)
    both = made(tmp_path / "b", Scenario(days=2, instruments=(BTC, ETH)), kind)
    assert both.slice(0, alone.num_rows).equals(alone)
    assert pc.unique(both["key"]).to_pylist() == ([BTC, ETH] if kind == "bars" else ["BTC", "ETH"])


def test_no_minute_is_lost_at_midnight(tmp_path: Path) -> None:
    bars = made(tmp_path, Scenario(days=3))
    closed = bars["observed_at"].to_numpy()
    assert closed.tolist() == [day_start_ns(0) + NS_PER_MIN * n for n in range(1, 3 * MINUTES + 1)]
    assert np.array_equal(bars["open"].to_numpy()[1:], bars["close"].to_numpy()[:-1])


def test_a_smaller_market_takes_the_place_of_the_larger(tmp_path: Path) -> None:
    write_archive(tmp_path, Scenario(days=3, ticks=True))
    bars = made(tmp_path, Scenario(days=1, seed=5))
    assert bars.num_rows == MINUTES
    assert not list(tmp_path.rglob("trades-*"))
    assert bars.equals(made(tmp_path / "new", Scenario(days=1, seed=5)))


@pytest.mark.parametrize("kind", ["bars", "trades", "quotes"])
def test_every_row_passes_the_checks_of_a_replay(kind: str, tmp_path: Path) -> None:
    wild = Scenario(days=3, seed=9, flash_crash=True, gaps=True, instruments=(BTC, "X/USD@synthetic"))
    table = made(tmp_path, wild._replace(ticks=kind != "bars"), kind)
    assert [(rule.field, rule.reason) for rule, _ in faults(kind, columns(table))] == []
    assert table.num_rows > 3 * MINUTES


def test_texts_are_signed_as_synthetic_and_unique(tmp_path: Path) -> None:
    scenario = Scenario(days=3, fake_news=True, instruments=(BTC, ETH))
    news, tweets = made(tmp_path, scenario, "news"), rows_of(tmp_path, "tweets")
    ids = [*news["id"].to_pylist(), *tweets["id"].to_pylist()]
    assert len(set(ids)) == len(ids)
    signed = [*ids, *news["source"].to_pylist(), *tweets["author"].to_pylist()]
    assert all(name.startswith("synthetic") for name in signed)
    for table in (news, tweets):
        lag = table["observed_at"].to_numpy() - table["occurred_at"].to_numpy()
        assert 0 < lag.min() <= lag.max() < NS_PER_MIN


def test_news_comes_before_the_move_that_it_causes() -> None:
    days = 120
    scenario = Scenario(days=days, trends=False)
    close = np.concatenate([bars.close for bars in daily_bars(scenario, 0)])
    before, after = [], []
    for day in range(1, days - 1):
        for story in stories_of(scenario, 0, day):
            at = day * MINUTES + story.minute
            length = story.delay_min + story.ramp_min
            before.append(story.tone * (close[at] / close[at - length] - 1.0))
            after.append(story.tone * (close[at + length] / close[at] - 1.0))
    assert len(after) > 500
    assert np.mean(after) > 0.0008
    assert abs(np.mean(before)) < 0.0004


def test_the_words_of_a_story_carry_its_tone_and_claim_no_move(tmp_path: Path) -> None:
    scenario = Scenario(days=20)
    titles = made(tmp_path, scenario, "news")["title"].to_pylist()
    tones = [story.tone for day in range(20) for story in sorted(stories_of(scenario, 0, day))]
    assert len(titles) == len(tones)
    assert not [title for title in titles if MOVE_CLAIMS.intersection(words(title))]
    for score in (vader_score, textblob_score):
        scores = np.array([score(title) for title in titles])
        assert np.corrcoef(scores, tones)[0, 1] > 0.7


def test_a_flash_crash_falls_and_comes_back() -> None:
    calm, wild = ([*daily_bars(Scenario(days=3, flash_crash=crash), 0)][1] for crash in (False, True))
    bottom, end = CRASH_AT_MIN + CRASH_MIN - 1, CRASH_AT_MIN + CRASH_MIN + REBOUND_MIN - 1
    before = wild.close[CRASH_AT_MIN - 1]
    assert wild.close[bottom] / before - 1.0 == pytest.approx(-0.115, abs=0.01)
    assert wild.close[end] / before - 1.0 == pytest.approx(0.0, abs=0.02)
    assert wild.volume[bottom] > 3 * calm.volume[bottom]
    assert np.array_equal(calm.close[:CRASH_AT_MIN], wild.close[:CRASH_AT_MIN])


def test_an_attack_floods_the_tweets_and_moves_no_price(tmp_path: Path) -> None:
    quiet, loud = Scenario(days=3), Scenario(days=3, fake_news=True)
    assert made(tmp_path / "a", quiet).equals(made(tmp_path / "b", loud))
    before, after = rows_of(tmp_path / "a", "tweets"), rows_of(tmp_path / "b", "tweets")
    assert after.num_rows == before.num_rows + ATTACK_POSTS
    bots = after.filter(pc.starts_with(after["author"], "synthetic_bot"))
    assert bots.num_rows == ATTACK_POSTS
    assert set((bots["occurred_at"].to_numpy() - day_start_ns(0)) // NS_PER_DAY) == {1}
    claims = [text for text in bots["text"].to_pylist() if MOVE_CLAIMS.intersection(words(text))]
    assert 0 < len(claims) < ATTACK_POSTS


def test_gaps_take_minutes_away_and_change_none(tmp_path: Path) -> None:
    whole = made(tmp_path / "a", Scenario(days=8))
    holed = made(tmp_path / "b", Scenario(days=8, gaps=True))
    kept = pc.is_in(whole["number"], holed["number"].combine_chunks())
    assert holed.equals(whole.filter(kept))
    longest = int(np.diff(holed["number"].to_numpy()).max()) // NS_PER_MIN
    assert 90 < longest < 100
    assert 0.98 < holed.num_rows / whole.num_rows < 0.995


def test_ticks_tell_the_story_of_the_bars(tmp_path: Path) -> None:
    scenario = Scenario(days=1, seed=4)
    bars = made(tmp_path / "a", scenario)
    trades = made(tmp_path / "b", scenario._replace(ticks=True), "trades")
    minute = (trades["observed_at"].to_numpy() - day_start_ns(0)) // NS_PER_MIN
    prices = trades["price"].to_numpy()
    first, last = np.searchsorted(minute, np.arange(MINUTES)), np.searchsorted(minute, np.arange(1, MINUTES + 1)) - 1
    assert np.array_equal(prices[first], bars["open"].to_numpy())
    assert np.array_equal(prices[last], bars["close"].to_numpy())
    assert (np.maximum.reduceat(prices, first) <= bars["high"].to_numpy()).all()
    assert (np.minimum.reduceat(prices, first) >= bars["low"].to_numpy()).all()
    numbers = trades["number"].to_numpy()
    assert (np.diff(numbers) > 0).all()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"days": 0}, "days, not 0"),
        ({"seed": -1}, "seed"),
        ({"news_per_day": -1}, "news_per_day"),
        ({"instruments": ()}, "instruments"),
        ({"instruments": (BTC, BTC)}, "each once"),
    ],
)
def test_an_impossible_market_is_refused(wrong: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        write_archive(tmp_path, Scenario(**wrong))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_walk_of_any_length_begins_alike() -> None:
    (short,) = walk(1_000, 3)
    long = next(iter(walk(BLOCK_BARS + 10, 3)))
    assert all(np.array_equal(a, b[:1_000]) for a, b in zip(short, long, strict=True))


def test_blocks_of_a_walk_join_without_a_seam() -> None:
    first, second = walk(BLOCK_BARS + 10, 3)
    assert (len(first.close), len(second.close)) == (BLOCK_BARS, 10)
    assert second.open[0] == first.close[-1]
    assert second.closed_at[0] - first.closed_at[-1] == NS_PER_MIN


def test_a_walk_is_the_same_bits_for_ever() -> None:
    """The benchmarks' figures and the sample archive stand on these digits."""
    (bars,) = walk(10_000, 1)
    digest = sha256(b"".join(column.tobytes() for column in bars)).hexdigest()
    assert digest == "63c527d5a3fc938c962c9dc8421caef805de30dacae279433f484668b3deb278"


def test_a_file_of_bars_is_in_archive_columns(tmp_path: Path) -> None:
    path = tmp_path / "bars" / "walk.parquet"
    write_bars(path, 5_000, seed=1)
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMAS["bars"])
    assert table.num_rows == 5_000
    assert list(faults("bars", columns(table.set_column(0, "key", table["key"].cast(pa.string()))))) == []


@pytest.mark.parametrize("bars", [0, -1])
def test_an_empty_walk_is_refused(bars: int) -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        next(walk(bars, 1))
