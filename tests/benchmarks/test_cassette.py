"""What the benchmark of the cassette claims: the second run costs nothing and leaves the same log."""

from __future__ import annotations

from benchmarks.cassette import compare


def test_the_second_run_of_two_days_is_free_and_the_same() -> None:
    told: list[str] = []
    first, second, short, again = compare(2_000, told.append)
    assert first.calls == first.asked == first.questions == second.recorded > 100
    assert (second.calls, second.asked, str(second.cost_usd)) == (0, 0, "0")
    assert second.log_sha256 == first.log_sha256
    assert 0 < short.cost_usd <= first.cost_usd / 2
    assert short.over_budget == short.questions - short.asked > 0
    assert again.recorded >= short.asked
    assert told[0].startswith(f"estimate: {first.questions} questions")
