"""Words of financial headlines by what they do: move, be good or bad when more of it comes, judge, deny.

A small list of our own. The weights of these classes are learnt from labelled headlines, so a word here is a hint,
not a verdict.
"""

from __future__ import annotations

from itertools import chain

_VOWELS = "aeiou"


def _forms(verbs: str) -> frozenset[str]:
    """Give the regular forms of verbs, in the infinitive: rise gives rises, rised, rising."""
    return frozenset(chain.from_iterable(map(_conjugated, verbs.split())))


def _conjugated(verb: str) -> tuple[str, ...]:
    if verb.endswith("e"):
        return verb, f"{verb}s", f"{verb}d", f"{verb[:-1]}ing"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb, f"{verb[:-1]}ies", f"{verb[:-1]}ied", f"{verb}ing"
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return verb, f"{verb}es", f"{verb}ed", f"{verb}ing"
    doubled = verb + verb[-1]
    return verb, f"{verb}s", f"{verb}ed", f"{verb}ing", f"{doubled}ed", f"{doubled}ing"


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


UP = _forms(
    "rise increase grow gain climb jump surge soar rally rebound recover improve advance accelerate expand double"
    " triple quadruple strengthen boost skyrocket spike leap bounce swell widen lift raise hike rocket edge"
) | _listed(
    "rose risen grew grown up higher growth upward upwards uptick upturn upswing doubling tripling bigger larger"
)
DOWN = _forms(
    "fall drop decline decrease slip slide sink tumble plunge plummet crash shrink reduce weaken slump tank retreat"
    " dip contract halve worsen deteriorate dive crater nosedive slash lower slow ease erode diminish lessen skid shed"
    " narrow shorten trim wane fade"
) | _listed(
    "fell fallen slid sank sunk shrank shrunk down lower downward downwards downturn downtick drawdown cut cuts cutting"
    " lost smaller less decreased slowdown"
)
GOOD = _listed(
    "profit profits earnings revenue revenues sales income eps margin margins turnover ebit ebitda demand order orders"
    " dividend dividends payout guidance outlook forecast forecasts estimate estimates share shares stock stocks price"
    " prices target rating cash volume volumes output production exports deliveries bookings backlog subscribers users"
    " gdp payrolls traffic growth result results market markets index futures equities currency euro yuan confidence"
    " sentiment spending investment premiums assets deposits pt capacity visitors passengers customers nasdaq dow"
    " quarter business efficiency productivity value return returns figures shipments occupancy hiring jobs permits pmi"
)
"""What is good news when it rises."""
BAD = _listed(
    "loss losses cost costs debt debts expense expenses unemployment jobless deficit deficits impairment impairments"
    " writedown writedowns delinquencies default defaults churn tariffs charges liabilities layoffs cases deaths"
    " infections risk risks fears tax taxes fine fines inventories stockpiles bankruptcies claims uncertainty emissions"
)
"""What is bad news when it rises."""
BETTER = _forms(
    "beat exceed outperform outpace upgrade win award approve surpass thrive impress reward succeed benefit enhance"
    " optimise optimize reinforce top secure reiterate resume"
) | _listed(
    "won record strong stronger strongest strength solid robust bullish bull bulls breakout overweight outperformance"
    " profitable positive successful success favorable favourable upbeat optimistic optimism best better great good"
    " healthy momentum buy accumulate undervalued opportunity attractive approval excellent winner winning gains"
    " breakthrough rewarding superior upside cheap support breakthroughs well progress long calls call breaking"
    " highs high accretive partnership milestone pleased confident encouraging leading tailwind tailwinds"
    " cost-effective efficient savings bargain bottomed oversold wonderful amazing awesome fantastic brilliant"
    " delighted bright happy improved enthusiasm comeback resilient"
)
WORSE = _forms(
    "miss downgrade warn underperform suspend delay halt dismiss struggle suffer disappoint fail sue recall probe"
    " investigate abandon withdraw scrap threaten hurt damage hit weigh drag blame accuse cancel terminate axe"
    " restate delist breach hack pressure"
) | _listed(
    "weak weaker weakest weakness bearish bear bears breakdown underweight underperformance unprofitable negative"
    " unfavorable unfavourable pessimistic pessimism worst worse bad poor sell short puts put overvalued lawsuit"
    " lawsuits fraud scandal bankruptcy bankrupt insolvency layoff layoffs redundancies redundant lay-offs lay-off"
    " recession crisis collapse selloff sell-off concern concerns worry worries worried fear trouble troubled"
    " difficult difficulties headwind headwinds disappointing disappointment penalty antitrust violation outbreak"
    " coronavirus virus shutdown strike downside low lows overbought resistance temporary bust loser losers slowing"
    " jitters gloomy challenging volatile turmoil rout slumping scam uncertain tough adverse defaulted dump dumped"
    " horrible terrible awful dismal grim robbed stolen theft unhappy angry dead panic doomed trap woes pain painful"
    " glut shortage shortages outage resign resigns resigned subpoena indicted guilty exploit"
)
DENY = _listed("not no never without nor cannot neither hardly barely despite unlikely isnt dont didnt wont")
COMPARE = _listed("from compared against vs versus year-earlier")
"""What stands before the number of an earlier time."""
LESSER = _listed("narrowed narrows narrow shrank shrink shrinks")
MAGNITUDES = {
    **dict.fromkeys(("k", "thousand"), 10**3),
    **dict.fromkeys(("m", "mn", "mln", "million", "mio", "mm"), 10**6),
    **dict.fromkeys(("b", "bn", "bln", "billion"), 10**9),
    **dict.fromkeys(("t", "tn", "trln", "trillion"), 10**12),
}
