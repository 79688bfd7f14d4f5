"""A book: one account with its own capital, instruments, models and limits. What a BOOK.yaml says, typed.

Every number that steers a decision stands here, so two runs differ only by what differs in their books.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.contradictions import contradictions
from schemas.decisions import Mode
from schemas.errors import BookError
from schemas.prompts import Prompt

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a book; a misspelt name is an error, never ignored."""


class Instrument(Section, frozen=True, kw_only=True):
    """What is traded, and in which steps."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    """`SYMBOL@venue`, the key of its market events."""
    lot_size: Decimal = Decimal("0.0001")
    """Smallest step of a quantity."""
    tick_size: Decimal = Decimal("0.01")
    """Smallest step of a price."""
    min_notional: Decimal = Decimal(10)
    multiplier: Decimal = Decimal(1)
    """Currency per unit of price and quantity: 1 for spot, 50 for an ES future."""
    shortable: bool = True


class FeatureSettings(Section, frozen=True, kw_only=True):
    """Lengths, in bars, of the incremental indicators."""

    bar_s: Count = 60
    """Length of the bars that are built from trades where the feed has no bars."""
    ema_fast: Count = 20
    ema_slow: Count = 50
    rsi: Count = 14
    atr: Count = 14
    volatility_decay: Share = 0.94
    """Decay of the exponentially weighted variance."""


class TextSettings(Section, frozen=True, kw_only=True):
    """Which texts the book listens to, and what it takes to be shown to a model."""

    keys: tuple[str, ...] = ()
    """Keys of texts (`BTC`) that concern this book; empty takes all."""
    sources: tuple[str, ...] = ()
    """Whitelist of authors and publishers; empty takes all."""
    max_age_s: Count = 3600
    """Older than this at the time we saw it: stale."""
    window_min: Count = 60
    """How long a text stays in the questions."""
    max_texts: Annotated[int, Meta(ge=0, le=64)] = 8
    """Newest texts that a question holds."""
    max_chars: Annotated[int, Meta(ge=40, le=4000)] = 400
    """Of each text in a question."""
    crash_move_pct: Positive = 0.5
    """A claim of a crash or surge is flagged unless prices of the last window moved at least this much."""
    dedupe_hours: Count = 24
    source_weights: dict[Annotated[str, Meta(pattern="^[^A-Z]+$")], Annotated[float, Meta(ge=0)]] = {}
    """Author or publisher, in small letters, to what its texts weigh in a question's mean tone; 1 where not named."""
    half_life_min: Positive | None = None
    """Age at which a text weighs half as much in that mean as a new one; absent, all of the window weigh alike."""
    defences: Literal["basic", "strict"] = "basic"
    """Strict: disguised sources are dropped, and what reads like an order to a model is flagged; models see texts
    without hidden characters; and the next three are on."""
    similar_pct: Annotated[int, Meta(ge=0, le=100)] | None = None
    """A text at least this similar to one of late is the same again; 0 compares words alone. 75 where strict."""
    corroborate_min: Annotated[int, Meta(ge=0)] | None = None
    """A claim (hack, ban, approval ...) waits so long for a second source of `sources`; 0 asks for none. `window_min`
    where strict."""
    review_min: Annotated[int, Meta(ge=0)] | None = None
    """A flagged text waits so long for a person; 0 drops it. `window_min` where strict."""

    def preset(self) -> TextSettings:
        """Give the settings with every open one at what `defences` says."""
        strict = self.defences == "strict"
        defaults = {"similar_pct": 75, "corroborate_min": self.window_min, "review_min": self.window_min}
        open_ones = {name: value if strict else 0 for name, value in defaults.items() if getattr(self, name) is None}
        return msgspec.structs.replace(self, **open_ones)


class AnalystSettings(Section, frozen=True, kw_only=True):
    """When models are asked, and which."""

    models: tuple[str, ...] = ()
    """Names from `models`; empty asks nobody."""
    every_min: Count = 15
    on_news: bool = True
    """Ask at once when a text passes the checks."""
    news_cooldown_s: Count = 60
    deadline_s: Count = 30
    prompt_version: Literal["v1"] = "v1"
    """The built-in prompt."""
    prompt: Prompt | None = None
    """In its place; a book's file names a file, relative to itself, or a prompt that comes with Quorum."""
    screen: str = ""
    """Name from `models` of a cheap model that is asked first; the others are asked unless it sees nothing to do. Empty
    asks all at once."""
    screen_confidence: Share = 0.6
    """A screen that holds at least this confidently, or abstains, ends the question."""
    screen_deadline_s: Count = 10
    """Of `deadline_s`: a screen that is silent for so long is not waited for."""


class ConsensusSettings(Section, frozen=True, kw_only=True):
    """How many models must agree."""

    agree: Count = 2
    fallback: str = ""
    """The model whose vote counts alone where too few others take a side in time; empty holds."""
    min_confidence: Share = 0.0
    """A verdict below this counts as HOLD."""
    weights: Literal["equal", "accuracy"] = "equal"
    """Whether every model has one vote, or each a vote that weighs by how often it was right in this book so far."""
    calibrate: bool = False
    """Takes a model's confidence for how often it was right when it was so confident, instead of what it says."""
    prior_outcomes: Count = 20
    """What is measured of a model is shrunk by so many outcomes that tell nothing: the larger, the longer a model must
    have been right to weigh more."""
    disagreement_alert_min: Count | None = None
    """Alerts where a vote fails by disagreement, at most once in so many minutes on an instrument; null does not."""

    @property
    def learns(self) -> bool:
        """Tell a vote that goes by measured outcomes."""
        return self.weights == "accuracy" or self.calibrate


class StrategySettings(Section, frozen=True, kw_only=True):
    """How the slow brain (the vote) and the fast brain (a local rule) make a target position."""

    mode: Mode = "consensus"
    bias_ttl_min: Count = 60
    """How long a consensus stays the bias."""
    fast_brain: Literal["ema_cross", "none"] = "ema_cross"
    override_confidence: Share = 0.8
    """Mode override: a consensus at least this confident acts without waiting for the fast brain."""
    hold_exits: bool = False
    """A consensus of HOLD closes the position."""
    stop_atr: float | None = None
    """Distance of the stop from the entry in ATRs, where the vote gives none."""
    target_atr: float | None = None


class RiskSettings(Section, frozen=True, kw_only=True):
    """Sizes and limits. Percentages are of equity. `RulesChanged` may set any of the numbers."""

    order_pct: Positive = 10.0
    """Notional of a full-conviction trade."""
    order_quantity: Decimal | None = None
    """Fixed quantity of every entry instead of a share of equity."""
    scale_by_conviction: bool = True
    max_position_pct: Positive = 25.0
    max_exposure_pct: Positive = 100.0
    """Gross notional of all positions."""
    max_order_notional: Positive | None = None
    max_orders_per_day: Count | None = None
    max_price_age_s: Count = 300
    """No entry on a price older than this."""
    confirm_above_notional: Positive | None = None
    """A person must confirm a larger trade."""
    confirm_within_s: Count = 300


class BreakerSettings(Section, frozen=True, kw_only=True):
    """Circuit breakers; an absent one is off."""

    max_drawdown_pct: Positive | None = None
    """From the highest equity; reset by an operator only."""
    max_daily_loss_pct: Positive | None = None
    """From the equity at midnight UTC; resets at the next."""
    max_losing_streak: Count | None = None
    flash_move_pct: Positive | None = None
    """Move of one bar, close to close, that halts the instrument."""
    max_failed_votes: Count | None = None
    """Questions in a row that ended without a usable answer."""
    cooldown_min: Count = 60
    """After a streak, a flash move or an outage."""


class VenueSettings(Section, frozen=True, kw_only=True):
    """The simulated exchange's costs and behaviour."""

    maker_bps: float = 10.0
    taker_bps: float = 10.0
    slippage_bps: Annotated[float, Meta(ge=0)] = 1.0
    latency_ms: Annotated[int, Meta(ge=0)] = 100
    """From the order's event to the venue, and from the venue's fill back, each."""
    max_volume_pct: Annotated[float, Meta(gt=0, le=100)] | None = 10.0
    """Share of a bar's or trade's volume that one order may take; null fills whole."""


Provider = Literal["bedrock", "openai", "anthropic"]
OUTSIDE: tuple[Provider, ...] = get_args(Provider)
"""Kinds of models that are called over a network, and cost money."""


class ModelSettings(Section, frozen=True, kw_only=True):
    """A voter: one of the offline ones, which are free, or a model that a provider runs.

    Secrets stand in the environment alone: AWS's own variables, or the one that `api_key_env` names.
    """

    kind: Literal["vader", "textblob", "trend", "finance", "letters"] | Provider
    latency_ms: Annotated[int, Meta(ge=0)] = 200
    """How late an offline voter answers in a replay; a model's recorded answer has its own latency."""
    model_id: str = ""
    """What the provider calls the model."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """Sent only where it stands here: many models take none. 0 is the steadiest of those that do."""
    max_reply_tokens: Annotated[int, Meta(ge=64, le=16_384)] = 1024
    guardrail: str = ""
    """Id of a Bedrock guardrail, and its version, that every call goes through."""
    guardrail_version: str = ""
    region: str = ""
    endpoint: str = ""
    """Address of an endpoint other than the provider's own."""
    api_key_env: str = ""
    """Name of the variable that holds the key; empty takes the provider's usual one."""
    usd_per_million_prompt_tokens: Decimal | None = None
    """In place of the price table's, as is the next."""
    usd_per_million_reply_tokens: Decimal | None = None
    max_concurrent: Annotated[int, Meta(ge=1, le=256)] = 16
    max_calls_per_min: Count | None = None

    @property
    def is_outside(self) -> bool:
        """Tell a model that is called over a network."""
        return self.kind in OUTSIDE


class Caps(Section, frozen=True, kw_only=True):
    """What may be spent at most, in USD, each call taken at its worst before it is made; an absent one is no cap."""

    per_call_usd: Decimal | None = None
    per_hour_usd: Decimal | None = None
    per_day_usd: Decimal | None = None
    """Of a day of UTC; an hour is one of the clock."""
    per_run_usd: Decimal | None = None
    """From the start of a replay, or of the gateway's process."""


class BudgetSettings(Caps, frozen=True, kw_only=True):
    """Caps of all models together, and of each by name. At 80 % of one an alert is raised."""

    per_day_usd: Decimal | None = Decimal(10)
    """So much unless a book says otherwise: what nobody thought of is not to run away."""
    models: dict[str, Caps] = {}


class Book(Section, frozen=True, kw_only=True):
    """The whole of it."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    instruments: Annotated[tuple[Instrument, ...], Meta(min_length=1, max_length=64)]
    archive: str = ""
    """Folder of the archive, relative to the book's file; or `s3://BUCKET/PREFIX`."""
    currency: str = "USD"
    cash: Decimal = Decimal(100000)
    periods_per_year: Literal[252, 365] = 365
    """Trading days a year, for annualised metrics."""
    mark_every_min: Count = 60
    """How often the book's worth is sampled."""
    features: FeatureSettings = FeatureSettings()
    text: TextSettings = TextSettings()
    analysts: AnalystSettings = AnalystSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    breakers: BreakerSettings = BreakerSettings()
    venue: VenueSettings = VenueSettings()
    models: dict[str, ModelSettings] = {}
    budget: BudgetSettings = BudgetSettings()
    on_unrecorded: Literal["ask", "fallback", "hold", "fail"] = "ask"
    """What a replay does with a question that has no recorded verdict: ask the model, within the budget; ask it only if
    it is an offline voter; take it for unanswered; or stop."""

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of the models that it asks, the screen first."""
        first = (self.analysts.screen,) if self.analysts.screen else ()
        return tuple(dict.fromkeys((*first, *self.analysts.models)))


def parse_book(data: object) -> Book:
    """Make a book of what its file holds (maps, lists, scalars). Raises BookError, which names the field at fault."""
    try:
        book = msgspec.convert(data, Book)
    except msgspec.ValidationError as error:
        raise BookError(str(error).replace("`$.", "`").replace(" - at `", ", at `")) from None
    for field, wrong in contradictions(book):
        raise BookError(f"{wrong}, at `{field}`")
    return book
