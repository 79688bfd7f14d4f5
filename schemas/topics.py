"""The table of topics: what each carries, how it is keyed, spread and kept.

Code and docs read it; nothing repeats it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas import accounting, control, decisions, execution, market, operations, texts, verdicts
from schemas.base import Event


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One Kafka topic."""

    name: str
    events: tuple[type[Event], ...]
    written_by: str
    read_by: str
    key: Literal["instrument", "book", "model"]
    partitions: int
    retention_days: int
    """-1 keeps for ever."""
    compacted: bool = False
    is_input: bool = False
    """Merged into the journal by the sequencer. All else but `sentiment` and `model-calls` is made from the journal."""


TOPICS: tuple[Topic, ...] = (
    Topic(
        name="ticks",
        events=(market.TradeTicked, market.QuoteTicked),
        written_by="market feeds, any producer",
        read_by="sequencer, bars worker, archiver, executor",
        key="instrument",
        partitions=8,
        retention_days=7,
        is_input=True,
    ),
    Topic(
        name="bars",
        events=(market.BarClosed,),
        written_by="market feeds, bars worker",
        read_by="sequencer, archiver",
        key="instrument",
        partitions=8,
        retention_days=30,
        is_input=True,
    ),
    Topic(
        name="tweets",
        events=(texts.TweetPosted,),
        written_by="X feed, any producer",
        read_by="sequencer, sentiment worker, archiver",
        key="instrument",
        partitions=4,
        retention_days=30,
        is_input=True,
    ),
    Topic(
        name="news",
        events=(texts.NewsPublished,),
        written_by="news feeds, any producer",
        read_by="sequencer, sentiment worker, archiver",
        key="instrument",
        partitions=4,
        retention_days=30,
        is_input=True,
    ),
    Topic(
        name="sentiment",
        events=(texts.SentimentMeasured,),
        written_by="sentiment worker",
        read_by="archiver, dashboards",
        key="instrument",
        partitions=4,
        retention_days=30,
    ),
    Topic(
        name="verdicts",
        events=(verdicts.VerdictGiven, verdicts.VerdictFailed),
        written_by="model gateway",
        read_by="sequencer, archiver",
        key="instrument",
        partitions=4,
        retention_days=-1,
        is_input=True,
    ),
    Topic(
        name="fills",
        events=(
            execution.OrderAccepted,
            execution.OrderRejected,
            execution.OrderFilled,
            execution.OrderCanceled,
            execution.OrderExpired,
        ),
        written_by="executor",
        read_by="sequencer, archiver",
        key="book",
        partitions=8,
        retention_days=-1,
        is_input=True,
    ),
    Topic(
        name="control",
        events=(
            control.BookPaused,
            control.BookResumed,
            control.TradeConfirmed,
            control.TradeDeclined,
            control.TextAccepted,
            control.TextRejected,
            control.KillSwitchPulled,
            control.RulesChanged,
        ),
        written_by="operator, learning",
        read_by="sequencer, archiver",
        key="book",
        partitions=1,
        retention_days=-1,
        is_input=True,
    ),
    Topic(
        name="journal",
        events=(control.ClockTicked,),
        written_by="sequencer only: every input above, and the clock",
        read_by="desk, archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="verdict-requests",
        events=(verdicts.VerdictRequested,),
        written_by="desk",
        read_by="model gateway",
        key="model",
        partitions=8,
        retention_days=30,
    ),
    Topic(
        name="model-calls",
        events=(verdicts.ModelCallStarted, verdicts.ModelCallEnded),
        written_by="model gateway",
        read_by="model gateway (what was spent), archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="signals",
        events=(
            decisions.NewsVetted,
            decisions.NewsDiscarded,
            decisions.NewsFlagged,
            decisions.ConsensusReached,
            decisions.ConsensusFailed,
            decisions.QuestionScreened,
            decisions.RegimeAssessed,
        ),
        written_by="desk",
        read_by="dashboards, archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="proposals",
        events=(decisions.TradeProposed,),
        written_by="desk",
        read_by="archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="risk-decisions",
        events=(
            decisions.TradeApproved,
            decisions.TradeRejected,
            decisions.BreakerTripped,
            decisions.BreakerReset,
            decisions.ConfirmationRequested,
        ),
        written_by="desk",
        read_by="dashboards, alerts, archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="orders",
        events=(execution.OrderRequested, execution.CancelRequested),
        written_by="desk",
        read_by="executor (ours or yours), archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="portfolio",
        events=(accounting.PositionChanged, accounting.EquityMarked, accounting.OutcomeMeasured),
        written_by="desk",
        read_by="API, dashboards, learning, archiver",
        key="book",
        partitions=8,
        retention_days=-1,
    ),
    Topic(
        name="alerts",
        events=(operations.AlertRaised, operations.ProcessingFailed),
        written_by="any",
        read_by="alert connectors",
        key="book",
        partitions=1,
        retention_days=365,
    ),
    Topic(
        name="snapshots",
        events=(operations.StateSaved,),
        written_by="desk",
        read_by="desk",
        key="book",
        partitions=8,
        retention_days=-1,
        compacted=True,
    ),
    Topic(
        name="progress",
        events=(operations.JournalProcessed,),
        written_by="desk",
        read_by="dashboards, operator",
        key="book",
        partitions=8,
        retention_days=-1,
        compacted=True,
    ),
    Topic(
        name="dead-letters",
        events=(operations.RecordRefused,),
        written_by="any consumer",
        read_by="operator",
        key="instrument",
        partitions=1,
        retention_days=365,
    ),
)

PARTITIONS = 8
"""Of every topic that is keyed by book and written behind the journal: a book has the same partition in all of them."""
EVENT_TYPES: tuple[type[Event], ...] = tuple(event for topic in TOPICS for event in topic.events)
TOPIC_OF: dict[type[Event], str] = {event: topic.name for topic in TOPICS for event in topic.events}
