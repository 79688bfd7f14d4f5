from __future__ import annotations

from pathlib import Path

import pytest

from replay.evidence import explain, explain_orders, shorten
from replay.rundir import RunDir
from schemas.base import NS_PER_MIN, NS_PER_MS, NS_PER_S
from schemas.decisions import Clamp, ConsensusReached, NewsVetted
from schemas.errors import ArchiveError
from schemas.execution import OrderCanceled, OrderFilled, OrderRequested
from schemas.texts import TweetPosted
from schemas.verdicts import TextPart, VerdictFailed, VerdictGiven
from tests.replay.fake_run import START, FakeRun, book_of
from tests.replay.plausible import HOSTILE

BTC = "BTC/USD@x"
AT = START + 10 * NS_PER_MIN
TWEET = 'tweet "1" \\ </script>\\'
CLAMP = Clamp(limit="max_position_pct", value=25, before=40_000, after=25_000)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """A run with a price and nothing else."""
    made = FakeRun(tmp_path / "run", book_of(BTC))
    made.price(BTC, START, 100.0)
    return made


def voted_order(run: FakeRun) -> tuple[OrderRequested, ConsensusReached]:
    tweet = run.add(TweetPosted, AT - NS_PER_S, "BTC", id=TWEET, author="@a", text=HOSTILE)
    run.add(NewsVetted, AT - NS_PER_S, cause=tweet.id, source="@a", sentiment=0.1)
    votes = [("BUY", 0.7, HOSTILE), ("BUY", 0.6, "trend is up"), ("", 0.0, "")]
    signal = run.question(BTC, AT, votes, [tweet])
    assert isinstance(signal, ConsensusReached)
    order = run.order(BTC, AT + NS_PER_S, "buy", "2", consensus=signal.id, clamps=(CLAMP,))
    return order, signal


def test_an_order_is_explained_down_to_the_cited_events(run: FakeRun) -> None:
    order, signal = voted_order(run)
    run.fill(order, AT + 2 * NS_PER_S, "100", "1.5")
    run.add(OrderCanceled, AT + 3 * NS_PER_S, BTC, order=order.id, reason="enough")
    proof = explain(run.write(), order.id)
    assert (proof.order, proof.consensus) == (order, signal)
    assert proof.approval is not None
    assert proof.proposal is not None
    assert (proof.approval.id, proof.approval.clamps) == (order.approval, (CLAMP,))
    assert (proof.proposal.id, proof.proposal.consensus) == (proof.approval.proposal, signal.id)
    assert [verdict.id for verdict in proof.verdicts] == [vote.verdict for vote in signal.votes]
    assert [type(verdict) for verdict in proof.verdicts] == [VerdictGiven, VerdictGiven, VerdictFailed]
    assert [request.id for request in proof.requests] == [verdict.cause for verdict in proof.verdicts]
    assert proof.cites == (f"{BTC}/bar60/{AT - NS_PER_MIN}", TWEET)
    (text,) = (part for part in proof.requests[0].prompt if isinstance(part, TextPart))
    assert text.text == HOSTILE
    assert [type(event).__name__ for event in proof.venue] == ["OrderAccepted", "OrderFilled", "OrderCanceled"]
    assert isinstance(proof.venue[1], OrderFilled)


def test_a_stop_leads_to_the_vote_behind_its_entry(run: FakeRun) -> None:
    entry, signal = voted_order(run)
    stop = run.add(
        OrderRequested,
        AT + 2 * NS_PER_S,
        BTC,
        instrument=BTC,
        side="sell",
        order_type="stop",
        quantity=entry.quantity,
        role="stop",
        approval=entry.approval,
        trigger_price=entry.quantity,
        reduce_only=True,
    )
    proof = explain(run.write(), stop.id)
    assert proof.consensus == signal
    assert proof.venue == ()


def test_an_exit_without_a_vote_has_its_reason_alone(run: FakeRun) -> None:
    order = run.order(BTC, AT, "sell", "1", role="exit", reason="kill switch")
    proof = explain(run.write(), order.id)
    assert proof.proposal is not None
    assert proof.proposal.reason == "kill switch"
    assert (proof.consensus, proof.verdicts, proof.requests, proof.cites) == (None, (), (), ())


def test_several_orders_are_explained_at_once_and_others_left_out(run: FakeRun) -> None:
    orders = [run.order(BTC, AT + i * NS_PER_MS, "buy", "1", reason=f"reason {i}") for i in range(5)]
    root = run.write()
    found = explain_orders(RunDir(root), [orders[1].id, orders[3].id, "unknown"])
    assert {id: proof.proposal and proof.proposal.reason for id, proof in found.items()} == {
        orders[1].id: "reason 1",
        orders[3].id: "reason 3",
    }


def test_an_unknown_order_is_refused_with_a_hint(run: FakeRun) -> None:
    with pytest.raises(ArchiveError, match=r"no order nothing; order ids stand in log/orders\.jsonl"):
        explain(run.write(), "nothing")


def test_ids_are_found_however_they_are_escaped(run: FakeRun) -> None:
    ids = ["plain", 'quote"', "back\\", 'both\\"', "\\\\", "newline\n", "ünï", "</script>", "tab\t\x01"]
    for n, id in enumerate(ids):
        run.add(TweetPosted, START + n, "BTC", id=id, author="@a", text=id)
    read = RunDir(run.write())
    for id in ids:
        assert {k: v.text for k, v in read.pick("journal", [id], TweetPosted).items()} == {id: id}
    assert set(read.pick("journal", ids, TweetPosted)) == set(ids)
    assert read.pick("journal", [], TweetPosted) == {}
    assert read.pick("journal", ids, VerdictGiven) == {}


def test_an_id_in_a_text_is_not_taken_for_the_events_own(run: FakeRun) -> None:
    run.add(TweetPosted, START, "BTC", id="real", author="@a", text='{"type":"TweetPosted","id":"wanted"')
    assert RunDir(run.write()).pick("journal", ["wanted"], TweetPosted) == {}


def test_a_torn_line_is_named(run: FakeRun) -> None:
    run.order(BTC, AT, "buy", "1")
    path = run.write() / "log" / "orders.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArchiveError, match=r"orders\.jsonl: a line is not a whole event .* was it cut off\?"):
        list(RunDir(run.root).events("orders", OrderRequested))


def test_a_folder_that_is_no_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no log/ folder"):
        explain(tmp_path, "x")
    with pytest.raises(ArchiveError, match=r"book\.json: not the book of a run"):
        RunDir(tmp_path).book()
    with pytest.raises(ArchiveError, match=r"prices\.parquet: not the prices of a run"):
        RunDir(tmp_path).prices()


def test_long_reasoning_is_cut_on_one_line() -> None:
    assert shorten("a\n b\t c", 10) == "a b c"
    assert shorten("word " * 10, 12) == "word word w…"
    assert len(shorten("x" * 500, 160)) == 160
