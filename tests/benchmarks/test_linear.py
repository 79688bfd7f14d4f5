"""The benchmark of growth counts what is read, and its plot shows every figure."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import linear
from benchmarks.linear import BOOK, Cost, Line, Month, drawn
from benchmarks.quorum_ema import INSTRUMENT
from connectors.archive import write
from replay.sources import open_archive
from replay.synthetic.walk import START_NS, bars_table, walk
from schemas.base import NS_PER_DAY


def test_only_the_month_that_is_asked_for_is_counted_as_read(tmp_path: Path) -> None:
    for block in walk(5 * linear.DAY_BARS, linear.SEED):
        write(tmp_path, "bars", bars_table(block, INSTRUMENT), "walk")
    end_ns = START_NS + 2 * NS_PER_DAY
    asked = open_archive(tmp_path, BOOK, end_ns=end_ns)
    assert linear._groups(open_archive(tmp_path, BOOK), None) == 6  # a day's last bar closes on the next
    assert linear._groups(asked, end_ns) == len(asked.files) == 2
    assert sum(len(frame) for frame in asked.frames()) == 2 * linear.DAY_BARS - 1


def test_a_plot_rises_as_its_figures_do_and_names_them() -> None:
    plot = ET.fromstring(drawn([Line("Cost", [(1e5, 0.1), (1e6, 1.0)], ["a tenth", "one"])]))
    texts = [element.text for element in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["Cost", "both ways in powers of ten", "a tenth", "one"]
    (first, second) = plot.iter("{http://www.w3.org/2000/svg}circle")
    assert float(first.attrib["cx"]) < float(second.attrib["cx"])
    assert float(first.attrib["cy"]) > float(second.attrib["cy"])


def test_the_tables_are_printed_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Cost(1_000, 0.5, 0.6, 240, 250)
    months = [Month(name, 31, 31, 31, 31, 0.02, cost) for name in (*linear.ARCHIVES, "ten years, one file")]
    monkeypatch.setattr(linear, "months", lambda *_: months)
    monkeypatch.setattr(linear, "costs", lambda sizes, *_: [cost, Cost(sizes[-1], 5.0, 6.0, 250, 260)])
    with linear.OUT.capture() as shown:
        linear.main(["--plot", str(tmp_path / "plot.svg"), "--json", str(tmp_path / "figures.json")])
    assert "10,000,000" in shown.get()
    assert "ten years, one file" in shown.get()
    assert "10,000,000: 5.00 s" in (tmp_path / "plot.svg").read_text()
    assert b'"figures_mb": 260' in (tmp_path / "figures.json").read_bytes()
