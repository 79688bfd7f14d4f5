"""`quorum new`: write a book to start from, with a comment on every setting."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import BookError

BOOK = """\
# {title}
# Check it and run it: quorum replay {file}

name: {name}  # names the run; lower case, digits, hyphens
archive: {archive}  # folder of market data and texts, relative to this file
currency: USD  # of cash, fees and profit
cash: 100000  # to start with
periods_per_year: 365  # trading days, for annualised figures: 365 or 252
mark_every_min: 60  # how often the book's worth is sampled

instruments:
{instruments}
features:  # lengths of the indicators, in bars
  bar_s: 60  # bars to build where the archive has trades alone
  ema_fast: 60  # the fast brain buys while this average
  ema_slow: 240  # is above this one, and sells while it is below
  rsi: 14  # relative strength index
  atr: 14  # the unit of stops and targets
  volatility_decay: 0.94  # of the exponentially weighted variance

text:  # what it takes to be shown to a model
  keys: {keys}  # texts about these alone; [] takes all
  sources: []  # authors and publishers to trust; [] trusts all
  max_age_s: 3600  # older when we saw it: stale
  window_min: 60  # how long a text stays in the questions
  max_texts: 8  # newest texts in a question
  max_chars: 400  # of each
  crash_move_pct: 0.5  # a claim of a crash without this move is flagged
  dedupe_hours: 24  # the same words again are dropped
  source_weights: {{}}  # what a source's tone weighs; 1 where not named
  half_life_min: null  # age at which a text's tone weighs half; null, all alike
  defences: basic  # strict keeps disguises and orders to models out, and sets the next three
  similar_pct: null  # likeness from which a text is the same again
  corroborate_min: null  # a claim waits so long for a second source
  review_min: null  # what is flagged waits so long for a person

models:  # who votes; these three need no network and no key
  vader: {{kind: vader, latency_ms: 200}}  # tone of the texts, a lexicon for posts
  textblob: {{kind: textblob, latency_ms: 200}}  # tone of the texts, a lexicon of adjectives
  trend: {{kind: trend, latency_ms: 200}}  # averages, RSI and returns; no text
  # One that a provider runs costs money (docs/models.md); name it under analysts.models, too.
  # claude:
  #   kind: bedrock  # or anthropic, or openai: any endpoint that speaks its protocol
  #   model_id: us.anthropic.claude-sonnet-4-5-20250929-v1:0  # what the provider calls it
  #   region: us-east-1  # of Bedrock
  #   endpoint: ""  # an address other than the provider's own: http://localhost:8000/v1
  #   api_key_env: ""  # the variable that holds the key; "" takes the provider's usual one
  #   temperature: null  # sent only where it stands here
  #   max_reply_tokens: 1024  # the longest answer
  #   guardrail: ""  # id of one of Bedrock's
  #   guardrail_version: ""  # and its version
  #   usd_per_million_prompt_tokens: null  # in place of the price table's
  #   usd_per_million_reply_tokens: null  # likewise
  #   max_concurrent: 16  # calls at a time
  #   max_calls_per_min: null  # null is no limit
budget:  # what models may cost at most, in USD; null is no cap
  per_call_usd: null  # one call, at its worst
  per_hour_usd: null  # an hour of the clock
  per_day_usd: 10  # a day of UTC
  per_run_usd: null  # a replay, or a gateway's process
  models: {{}}  # the same caps of a model alone, by its name
on_unrecorded: ask  # without a recorded verdict: ask, fallback, hold, fail

analysts:
  models: [vader, textblob, trend]  # who is asked
  every_min: 15  # on this cadence
  on_news: true  # and at once when a text passes the checks
  news_cooldown_s: 60  # but not more often than this
  deadline_s: 30  # a later answer does not count
  prompt_version: v1  # wording of the question
  screen: ""  # a model that is asked before them, and ends a question with nothing in it; "" asks all at once
  screen_confidence: 0.6  # of its HOLD, to end one
  screen_deadline_s: 10  # of deadline_s; then the others are asked
  prompt: null  # a file in its place, or one that comes with Quorum: headlines, numbers

consensus:
  agree: 2  # of the models asked; fewer is no signal
  fallback: ""  # whose vote counts alone when the others are late; "" holds
  min_confidence: 0.2  # a vote below this counts as HOLD
  weights: equal  # accuracy: a vote weighs by how often the model was right
  calibrate: false  # true: a confidence is taken for how often it came true
  prior_outcomes: 20  # outcomes that tell nothing, added to those measured
  disagreement_alert_min: 60  # an alert where models disagree, at most so often; null is none

strategy:
  mode: {mode}  # {mode_says}
  fast_brain: ema_cross  # times the entry; none acts on the vote alone
  bias_ttl_min: 60  # how long a vote stays the bias
  override_confidence: 0.8  # mode override: a vote this sure acts at once
  hold_exits: false  # true: a vote to HOLD closes the position
  stop_atr: 10.0  # stop-loss from the entry, where the vote gives none
  target_atr: 20.0  # take-profit likewise

risk:  # percentages are of equity
  order_pct: 20.0  # notional of a trade of full conviction
  order_quantity: null  # a fixed quantity instead
  scale_by_conviction: true  # less sure, smaller
  max_position_pct: 25.0  # of one instrument
  max_exposure_pct: 50.0  # of all, long and short added
  max_order_notional: null  # in {currency}
  max_orders_per_day: 100  # null is no limit
  max_price_age_s: 300  # no entry on an older price
  confirm_above_notional: null  # a person confirms what is larger
  confirm_within_s: 300  # or it lapses

breakers:  # stop new risk; exits and stops go on; null is off
  max_drawdown_pct: 20.0  # from the highest equity, until an operator resumes
  max_daily_loss_pct: 5.0  # from midnight UTC, until the next
  max_losing_streak: 8  # trades in a row
  flash_move_pct: 2.0  # of one bar; halts the instrument
  max_failed_votes: 20  # questions in a row without a usable answer
  cooldown_min: 60  # after a streak, a flash move or an outage

venue:  # the simulated exchange
  maker_bps: 2.0  # fee of a resting order
  taker_bps: 5.0  # fee of an order that takes
  slippage_bps: 1.0  # worse than the price seen
  latency_ms: 100  # there, and back again
  max_volume_pct: 10.0  # of a bar's volume that one order may take
"""
INSTRUMENT = """\
  - id: {id}
    lot_size: 0.0001  # smallest step of a quantity
    tick_size: 0.01  # smallest step of a price
    min_notional: 10  # smallest order
    multiplier: 1  # currency per unit of price and quantity: 1 for spot
    shortable: true  # false: long or flat only
"""
COMMENT_COLUMN = 46
MODES: dict[str, str] = {
    "consensus": "enter where vote and fast brain agree, leave when the vote turns",
    "override": "as consensus, and a very sure vote acts at once",
    "advisory": "the fast brain trades; the vote may veto an entry",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("new")(new)


def new(
    book: Annotated[Path, typer.Argument(metavar="BOOK.yaml", help="The file to write.")],
    instrument: Annotated[
        list[str] | None, typer.Option(help="SYMBOL@venue, as the archive names it; give it again for more.")
    ] = None,
    mode: Annotated[str, typer.Option(help="consensus, override or advisory.")] = "consensus",
    archive: Annotated[str, typer.Option(help="Folder of the archive, relative to the book.")] = "archive",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a book to start from, with a comment on every setting.

    It has three voters that need no network, limits, breakers and costs.

    Example: quorum new my.yaml --instrument BTC/USDT@binance --instrument ETH/USDT@binance --mode advisory
    """
    name = re.sub(r"[^a-z0-9]+", "-", book.stem.lower()).strip("-")[:63]
    text = book_yaml(name, instrument or ["BTC/USD@synthetic"], mode, archive, file=book.name)
    write_book(book, text, force=force)
    sys.stdout.write(f"{book}\n")


def book_yaml(
    name: str,
    instruments: Sequence[str],
    mode: str,
    archive: str,
    *,
    file: str,
    title: str = "A book: one account with its own capital, instruments, models and limits.",
) -> str:
    """Give the text of a book. Raises BookError where no book can be made of the arguments."""
    import yaml

    from schemas.book import parse_book

    if mode not in MODES:
        raise BookError(f"--mode {mode!r} is none of {', '.join(MODES)}")
    for instrument in instruments:
        if not re.fullmatch(r"[^\s@]+@[^\s@]+", instrument):
            raise BookError(f"--instrument {instrument!r} is not SYMBOL@venue, as in BTC/USDT@binance")
    bases = dict.fromkeys(instrument.partition("@")[0].partition("/")[0] for instrument in instruments)
    text = BOOK.format(
        title=title,
        file=file,
        name=name,
        archive=_scalar(archive),
        currency="USD",
        instruments="".join(INSTRUMENT.format(id=_scalar(instrument)) for instrument in instruments),
        keys=f"[{', '.join(map(_scalar, bases))}]",
        mode=mode,
        mode_says=MODES[mode],
    )
    text = "".join(map(_aligned, text.splitlines()))
    parse_book(yaml.safe_load(text))
    return text


def write_book(path: Path, text: str, *, force: bool) -> None:
    """Write a book, over another one only by force. Raises BookError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise BookError(f"{path}: exists already; choose another name, or --force to write over it") from None
        raise BookError(f"{path}: cannot be written: {error.strerror}") from None


def _aligned(line: str) -> str:
    """Put the comment that follows a setting in the common column."""
    setting, _, comment = line.rpartition("  # ")
    return f"{setting.ljust(COMMENT_COLUMN)}  # {comment}\n" if setting.strip() else f"{line}\n"


def _scalar(value: str) -> str:
    """Write a string so that YAML reads it back as that string."""
    import yaml

    written: str = yaml.safe_dump(value, width=1_000_000, allow_unicode=True)
    return written.removesuffix("\n").removesuffix("\n...")
