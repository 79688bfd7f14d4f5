from __future__ import annotations

import re
import sys
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment

from replay import report
from replay.figures import LOG_FROM, MAX_POINTS, downsample, figure
from replay.outputs import finish
from replay.report import CompiledTemplates, script_json
from replay.results import read_results
from replay.rundir import RunDir
from schemas.decisions import ConsensusReached
from tests.replay.fake_run import START, FakeRun, book_of
from tests.replay.plausible import HOSTILE, plausible

BTC, ETH = "BTC/USD@x", "ETH/USD@x"


def compiled(folder: Path, source: str) -> str:
    """Render a template through the cache in `folder`."""
    environment = Environment(loader=DictLoader({"a.html": source}), bytecode_cache=CompiledTemplates(folder))
    return environment.get_template("a.html").render(x=1)


def test_a_template_is_compiled_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    cache = tmp_path / "__pycache__"
    assert compiled(cache, "{{ x }} one") == "1 one"
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "_generate", lambda *_, **__: pytest.fail("compiled again"))
        assert compiled(cache, "{{ x }} one") == "1 one"
    assert compiled(cache, "{{ x }} two") == "1 two"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"j2", None])
def test_a_compiled_template_that_is_damaged_is_compiled_again(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert compiled(tmp_path, "{{ x }}") == "1"
    (kept,) = tmp_path.iterdir()
    for size in range(len(kept.read_bytes())) if damage is None else [0]:
        kept.write_bytes(kept.read_bytes()[:size] if damage is None else damage)
        assert compiled(tmp_path, "{{ x }}") == "1"


def test_a_place_that_cannot_be_written_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "file").touch()
    assert compiled(tmp_path / "file", "{{ x }}") == "1"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert compiled(tmp_path / "cache", "{{ x }}") == "1"
    assert not (tmp_path / "cache").exists()


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, scripts apart from text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.in_script = self.in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.in_script, self.in_style = tag == "script", tag == "style"
        if self.in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = self.in_style = False
        self.text += " " if tag in ("td", "th", "p", "li") else ""

    def handle_data(self, data: str) -> None:
        if self.in_script:
            self.scripts[-1] += data
        elif not self.in_style:
            self.text += data

    def all(self, tag: str, css_class: str = "") -> list[dict[str, str]]:
        return [a for name, a in self.elements if name == tag and css_class in a.get("class", "")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty days of two instruments with hostile texts in every place that takes text."""
    made = plausible(tmp_path_factory.mktemp("runs") / "run", BTC, ETH, days=20)
    finish(made, {"log_sha256": "f" * 64, "source": HOSTILE})
    return made


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    """Its report."""
    return Page(root / "report.html")


def chart(page: Page) -> dict[str, Any]:
    """Give the figure."""
    parsed: dict[str, Any] = msgspec.json.decode(page.scripts[0])
    return parsed


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_hostile_text_stays_text(root: Path, page: Page) -> None:
    assert HOSTILE in page.text
    assert 'alert("pwned")' not in "".join(page.scripts[1:])
    raw = (root / "report.html").read_text(encoding="utf-8")
    assert '<script>alert("pwned")' not in raw
    assert not page.all("img")
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]


def test_the_page_loads_nothing_from_anywhere(page: Page) -> None:
    attributes = [a for _, a in page.elements]
    assert not [a for a in attributes if {"src", "href", "action", "data"} & a.keys()]
    assert not page.all("link")


def test_only_the_pages_own_two_scripts_may_run(page: Page) -> None:
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    data, *scripts = page.scripts
    assert [a.get("type", "") for a in page.all("script")] == ["application/json", "", ""]
    hashes = [f"'sha256-{b64encode(sha256(s.encode()).digest()).decode()}'" for s in scripts]
    assert f"script-src {hashes[0]} {hashes[1]};" in policy
    assert policy.startswith("default-src 'none';")
    assert data.startswith("{")


def test_every_trade_shows_its_votes_its_texts_and_its_limits(root: Path, page: Page) -> None:
    trades = page.all("details", "one")
    summary = msgspec.json.decode((root / "summary.json").read_bytes())
    assert len(trades) == summary["metrics"]["trades"] + summary["open_trades"]
    assert [int(a["data-n"]) for a in trades] == list(range(1, len(trades) + 1))
    consensus = next(iter(reached(root)))
    assert f"Vote: {consensus.agree} of {consensus.of} {consensus.action}" in words(page)
    assert "max_position_pct 10 14,200.00 10,000.00" in words(page)
    for id in (consensus.id, consensus.votes[0].verdict, f"{ETH}/bar60/{START + 6 * 3600 * 10**9 - 60 * 10**9}"):
        assert f"{id}" in page.text


def reached(root: Path) -> list[ConsensusReached]:
    used = {m.group(1) for m in re.finditer(rb'"consensus":"(\w+)"', (root / "log/proposals.jsonl").read_bytes())}
    signals = (root / "log" / "signals.jsonl").read_bytes().splitlines()
    return [
        msgspec.json.decode(line, type=ConsensusReached)
        for line in signals
        if b'"ConsensusReached"' in line[:30] and any(id in line for id in used)
    ]


def test_refusals_breakers_texts_and_models_are_listed(page: Page) -> None:
    said = words(page)
    for expected in (
        "long at ",
        "Refused: breaker, drawdown, was 11.2.",
        "drawdown tripped on fake: 11.200 against 10.000, until 2017-01-02 05:00:00",
        "reset: cooldown",
        "BookPaused by ann: lunch",
        "warning drawdown breaker tripped <b>",
        "@scam duplicate",
        "claims “crash <b>now</b>” while the price moved +0.02",
        "no quorum",
        "timeout",
    ):
        assert expected in said


def test_measures_carry_their_formulas(page: Page) -> None:
    said = words(page)
    assert "mean(r) / sd(r) · √P; the risk-free rate is taken as zero" in said
    assert "No value when fewer than 5 daily returns, or no variance." in said
    assert len({a["id"] for a in page.all("span") if a.get("role") == "tooltip"}) == len(
        [a for a in page.all("span") if a.get("role") == "tooltip"]
    )


def test_the_chart_holds_worth_drawdown_and_each_instruments_entries_and_exits(page: Page) -> None:
    figure = chart(page)
    assert [t["name"] for t in figure["traces"][:3]] == ["Buy and hold", "Book", "Drawdown"]
    assert max(figure["traces"][2]["y"]) <= 0
    for name, visible in ((BTC, True), (ETH, False)):
        mine = [t for t in figure["traces"] if t.get("meta", {}).get("instrument") == name]
        assert {t["visible"] for t in mine} == {visible}
        marked = {t["name"]: t for t in mine if t["mode"] == "markers"}
        assert list(marked) == ["Long entry", "Short entry", "Exit with profit", "Exit with loss"]
        entries = marked["Long entry"]["customdata"] + marked["Short entry"]["customdata"]
        exits = marked["Exit with profit"]["customdata"] + marked["Exit with loss"]["customdata"]
        assert set(exits) <= set(entries)
    hovers = [text for t in figure["traces"] if t["mode"] == "markers" for text in t["text"]]
    assert all("EMA 20 crossed above EMA 50" in text for text in hovers)


def test_a_curve_shows_how_far_each_models_confidence_could_be_trusted(root: Path, page: Page) -> None:
    summary = msgspec.json.decode((root / "summary.json").read_bytes())
    even, *curves = chart(page)["reliability"]["traces"]
    assert (even["x"], even["y"]) == ([0, 1], [0, 1])
    assert [curve["name"] for curve in curves] == ["textblob", "trend", "vader"]
    for curve in curves:
        bins = [one for one in summary["models"][curve["name"]]["calibration"]["bins"] if one["predictions"]]
        assert bins
        assert curve["x"] == [one["mean_confidence"] for one in bins]
        assert curve["y"] == [one["hit_rate"] for one in bins]
    assert [a["id"] for a in page.all("div") if a.get("id") == "reliability"] == ["reliability"]
    assert f"{summary['models']['vader']['calibration']['brier']:.4f}" in words(page)


def test_reasons_in_hover_boxes_are_escaped(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    run.price(BTC, START, 100.0)
    order = run.order(BTC, START + 1, "buy", "1", reason="<a href='javascript:x'>click</a>")
    run.fill(order, START + 2, "100")
    finish(run.write(), {})
    hovers = [h for t in chart(Page(run.root / "report.html"))["traces"] for h in t.get("text", ())]
    assert len(hovers) == 1
    assert "&lt;a href=&#x27;javascript:x&#x27;&gt;click&lt;/a&gt;" in hovers[0]


def test_a_partial_run_says_so_first(tmp_path: Path) -> None:
    made = plausible(tmp_path / "run", BTC, days=2)
    finish(made, {"interrupted": True})
    page = Page(made / "report.html")
    assert "Partial result. The run was stopped at 2017-01-03 00:00:00 UTC" in words(page)
    assert [a["role"] for a in page.all("p", "banner")] == ["alert"]


def test_a_whole_run_has_no_banner(page: Page) -> None:
    assert not page.all("p", "banner")


def test_a_run_without_trades_has_a_report(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", book_of(BTC))
    finish(run.write(), {})
    said = words(Page(run.root / "report.html"))
    assert "No trade was made." in said
    assert "No model was asked." in said
    assert "With one daily return, figures per year say little." in said


def test_of_many_trades_the_first_last_and_largest_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "TRADES_LISTED", 2)
    made = plausible(tmp_path / "run", BTC, ETH, days=20)
    finish(made, {})
    page = Page(made / "report.html")
    numbers = [int(a["data-n"]) for a in page.all("details", "one")]
    nets = sorted((abs(float(a["data-net"])) for a in page.all("details", "one")), reverse=True)
    summary = msgspec.json.decode((made / "summary.json").read_bytes())
    total = summary["metrics"]["trades"] + summary["open_trades"]
    assert numbers == sorted(numbers)
    assert {1, 2, total - 1, total} <= set(numbers)
    assert len(numbers) <= 6 < total
    assert nets[0] == pytest.approx(largest_result(tmp_path))
    assert f"the first 2, the last 2 and the 2 with the largest results, {len(numbers)} of {total}" in words(page)


def largest_result(tmp_path: Path) -> float:
    """Of all round trips, from a report that lists them all."""
    report_all = plausible(tmp_path / "all", BTC, ETH, days=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "TRADES_LISTED", 75)
        finish(report_all, {})
    return max(abs(float(a["data-net"])) for a in Page(report_all / "report.html").all("details", "one"))


@given(st.text(), st.text())
def test_data_cannot_leave_its_script(key: str, value: str) -> None:
    encoded = str(script_json({key: f"</script><!--{value}\u2028"}))
    assert not set(encoded) & set("<>&\u2028\u2029")
    assert msgspec.json.decode(encoded) == {key: f"</script><!--{value}\u2028"}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 100))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float], limit: int) -> None:
    times = np.arange(len(values), dtype=np.int64)
    thin_times, thin = downsample(times, np.array(values), limit)
    assert len(thin) <= max(limit, 4)
    assert (thin_times[0], thin_times[-1]) == (0, len(values) - 1)
    assert (thin.min(), thin.max()) == (min(values), max(values))
    assert np.array_equal(thin, np.array(values)[thin_times])
    assert (np.diff(thin_times) > 0).all()


def test_a_long_curve_is_thinned() -> None:
    times = np.arange(200_000, dtype=np.int64)
    assert len(downsample(times, np.sin(times / 50), MAX_POINTS)[0]) <= MAX_POINTS


def test_the_chart_begins_on_a_log_scale_where_a_linear_one_would_hide_a_curve(root: Path) -> None:
    results = read_results(RunDir(root), {"log_sha256": "f" * 64})
    assert figure(results, [])["log"] is False
    equity = results.marks.equity
    for factor, log in ((LOG_FROM * 1.1, True), (-1.0, False)):
        grown = results.marks._replace(equity=np.linspace(equity[0], equity[0] * factor, len(equity)))
        assert figure(results._replace(marks=grown), [])["log"] is log
