"""A small word list that gives a text a tone, for the features and for the screen of claims. Pure, and stable for ever.

It is a coarse instrument on purpose: voters with real lexicons or real models give opinions, this gives a number
that costs nothing and never changes under an old log.
"""

from __future__ import annotations

import re

POSITIVE = frozenset(
    "adopt adoption adopts approval approve approved approves beat beats boom breakout bull bullish buy climb climbs"
    " gain gains growth high highs jump jumps launch launches moon optimism optimistic outperform partnership pump"
    " rally rallies rallied record rebound rebounds recover recovers rise rises rising rose soar soared soars strong"
    " surge surged surges support upgrade upgraded upside win wins".split()
)
NEGATIVE = frozenset(
    "attack ban banned bans bear bearish breach bubble collapse collapses collapsed crackdown crash crashed crashes"
    " crime decline declines default delay denied denies down downgrade drop dropped drops dump dumped fall falling"
    " falls fear fears fell fraud hack hacked hacks halt illegal investigation lawsuit liquidation loss losses low"
    " negative panic plummet plummets plunge plunged plunges probe reject rejected rejection rejects risk scam sell"
    " selloff shutdown slump stolen sue sues theft tumble tumbles warning warns weak worst".split()
)
MOVE_CLAIMS = frozenset(
    "crash crashed crashes crashing plunge plunged plunges plunging plummet plummeted plummets collapse collapsed"
    " collapses collapsing tumble tumbled tumbles soar soared soars soaring skyrocket skyrocketed skyrockets surge"
    " surged surges surging".split()
)
"""Words that claim a move of the price that, if true, the price shows."""

_WORD = re.compile(r"[a-z]+|[^\W\d_a-z]+")


def words(text: str) -> list[str]:
    """Split a text into its words, lower case, links and handles left out.

    A word is a run of the letters a to z, or of any others: the first are those that the lists above can hold. Where a
    language writes no spaces, a run is a phrase.
    """
    plain = " ".join(part for part in text.lower().split() if not part.startswith(("http", "@", "www.")))
    found: list[str] = _WORD.findall(plain)
    return found if plain.isascii() else [word for word in found if word.isalpha()]  # "½" is none


def polarity(tokens: list[str]) -> float:
    """Score words: (positive - negative) / (positive + negative), 0 where none is known. From -1 to 1."""
    positive = sum(token in POSITIVE for token in tokens)
    negative = sum(token in NEGATIVE for token in tokens)
    known = positive + negative
    return (positive - negative) / known if known else 0.0


CLAIMS: dict[str, frozenset[str]] = {
    kind: frozenset(listed.split())
    for kind, listed in {
        "crash": "crash crashed crashes crashing plunge plunged plunges plunging plummet plummeted plummets plummeting"
        " collapse collapsed collapses collapsing tumble tumbled tumbles tumbling nosedive nosedives nosedived"
        " freefall meltdown crater craters cratered",
        "surge": "soar soared soars soaring skyrocket skyrocketed skyrockets skyrocketing surge surged surges surging"
        " rocketed",
        "hack": "hack hacked hacks hacker hackers hacking breach breached breaches exploit exploited exploits heist"
        " stolen steal steals stole theft drained drain drains compromised backdoor",
        "ban": "ban banned banning bans outlaw outlawed outlaws outlawing prohibit prohibited prohibits prohibition"
        " criminalise criminalize seize seized seizes seizure confiscate confiscated crackdown shutdown",
        "bankruptcy": "bankrupt bankruptcy insolvent insolvency default defaulted defaults liquidator receivership"
        " halted halts freezes froze frozen suspends suspended delist delisted delists",
        "approval": "approve approved approves approval greenlight greenlit greenlights authorise authorised authorize"
        " authorized legalise legalised legalize legalized legalizes tender",
        "rejection": "reject rejected rejects rejection deny denied denies denial refuse refused refuses disapprove"
        " disapproved veto vetoed",
        "charge": "arrest arrested arrests indict indicted indicts indictment sue sued sues lawsuit"
        " fraud fraudulent ponzi raid raided raids",
        "purchase": "acquire acquired acquires acquisition takeover buyout",
    }.items()
}
"""Kind of a claim that would move a market, if true, to the words that make it."""


def claims(tokens: list[str]) -> tuple[str, ...]:
    """Give the kinds of claims that words make, in the order of the list."""
    return tuple(kind for kind, listed in CLAIMS.items() if any(token in listed for token in tokens))
