"""What the synthetic press writes: invented houses, invented events, in words that carry a tone.

A story says what will move the price; its words claim no move, for at its time there was none. Houses, wires and
authors do not exist.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ASSETS = {"BTC": "Bitcoin", "ETH": "Ether"}
"""Names in words; other symbols stand for themselves."""

HOUSES = (
    "Northgate Bank",
    "Veldt Exchange",
    "Harrow Capital",
    "Ostrava Trust",
    "Kestrel Markets",
    "Bluefen Custody",
    "Corvid Digital",
    "Tidewater Securities",
    "Marlowe Pension Fund",
    "Saltmarsh Clearing",
    "the Meridian regulator",
    "the Alder commission",
    "the Port Ellen court",
    "the Lower Fen treasury",
)
WIRES = ("synthetic-wire", "synthetic-times", "synthetic-ledger")

_GOOD = (
    (
        "{house} approves the first {asset} fund",
        "{house} adds {asset} to its treasury",
        "{house} opens {asset} custody to all clients",
        "{house} settles its long dispute over {asset}",
        "{house} reports strong demand for {asset}",
        "{house} lifts its restrictions on {asset}",
        "{house} completes a flawless {asset} upgrade",
    ),
    (
        "an excellent result for holders",
        "a great win for adoption",
        "analysts are impressed and optimistic",
        "a very good sign, say traders",
        "happy clients praise a perfect launch",
        "superb support from depositors",
        "the best news of the season",
    ),
)
_BAD = (
    (
        "{house} bans trading in {asset}",
        "{house} halts {asset} withdrawals",
        "{house} sues over {asset} fraud",
        "{house} warns of a breach at its {asset} vault",
        "{house} rejects the {asset} fund",
        "{house} admits the theft of {asset} deposits",
        "{house} closes its {asset} desk after heavy losses",
    ),
    (
        "a terrible blow to trust",
        "clients are angry and afraid",
        "analysts call it an awful failure",
        "the worst news in months",
        "a horrible day for depositors",
        "disgusting negligence, says a judge",
        "a bad sign for the sick market",
    ),
)
_DULL = (
    (
        "{house} publishes its monthly {asset} statistics",
        "{house} moves its {asset} desk to another floor",
        "{house} names a head of {asset} research",
        "{house} hosts a conference on {asset}",
        "{house} renames its {asset} index",
    ),
    (
        "no figures were given",
        "the report has forty pages",
        "the schedule is online",
        "doors open on Monday",
        "details follow next week",
    ),
)
_AFTERMATH = {
    1: ("{asset} climbs after the news from {house}", "holders cheer", "buyers are back", "what a rally"),
    -1: ("{asset} drops after the news from {house}", "holders grieve", "sellers rule", "what a slump"),
}
_FAKE = (
    (
        "BREAKING {asset} crashes sixty percent",
        "{asset} plunging right now",
        "{asset} collapses on every venue",
        "CONFIRMED {house} hacked, all {asset} stolen",
        "{house} is insolvent, {asset} gone",
        "leaked memo: {house} bans {asset} tonight",
    ),
    (
        "sell everything",
        "get out while you can",
        "this is not a drill",
        "terrible, terrible losses",
        "horrible panic everywhere",
        "worst day ever",
        "share before they delete this",
        "my broker just called",
    ),
)
_BY_TONE = {1: _GOOD, -1: _BAD, 0: _DULL}


class Line(NamedTuple):
    """A text and who signs it."""

    source: str
    text: str


def asset_name(base: str) -> str:
    """Give the word for an instrument's base symbol."""
    return ASSETS.get(base, base)


def headline(rng: np.random.Generator, base: str, tone: int) -> Line:
    """Write a headline that is glad (1), grim (-1) or dull (0)."""
    what, tail = _BY_TONE[tone]
    text = f"{_one(rng, what)}: {_one(rng, tail)}".format(house=_one(rng, HOUSES), asset=asset_name(base))
    return Line(_one(rng, WIRES), text[0].upper() + text[1:])


def chatter(rng: np.random.Generator, base: str, tone: int) -> Line:
    """Write the post of a trader, in any of the three tones."""
    return Line(f"synthetic_trader_{int(rng.random() * 40):02d}", headline(rng, base, tone).text)


def aftermath(rng: np.random.Generator, base: str, tone: int) -> Line:
    """Write a post on a move that has happened."""
    what, *tails = _AFTERMATH[tone]
    text = f"{what}, {_one(rng, tuple(tails))}".format(house=_one(rng, HOUSES), asset=asset_name(base))
    return Line(f"synthetic_trader_{int(rng.random() * 40):02d}", text)


def fake(rng: np.random.Generator, base: str) -> Line:
    """Write the post of a bot: loud, grim and untrue."""
    what, tail = _FAKE
    text = f"{_one(rng, what)}, {_one(rng, tail)}".format(house=_one(rng, HOUSES), asset=asset_name(base))
    return Line(f"synthetic_bot_{int(rng.random() * 400):03d}", text)


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.random() * len(choices))]
