"""Ten queries that are asked often, by name: `quorum sql --query NAME`. docs/sql.md shows them."""

from __future__ import annotations

from inspect import cleandoc
from typing import NamedTuple


class Worked(NamedTuple):
    """A query with what it answers."""

    about: str
    sql: str


def _worked(about: str, sql: str) -> Worked:
    return Worked(about, cleandoc(sql))


WORKED: dict[str, Worked] = {
    "volume": _worked(
        "What was traded a day, by source and instrument: base units, and their worth in quote units.",
        """
        SELECT CAST(utc(occurred_at) AS DATE) AS day, split_part(key, '@', 2) AS source, key AS instrument,
               count(*) AS trades, sum(size) AS volume, sum(size * price) AS turnover
        FROM trade_ticked
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "agreement": _worked(
        "How often two models give the same action to the same question.",
        """
        SELECT a.model, b.model AS other_model, count(*) AS questions,
               round(100 * avg(CAST(a.action = b.action AS INT)), 1) AS agree_pct
        FROM verdict_given AS a JOIN verdict_given AS b USING (question)
        WHERE a.model < b.model
        GROUP BY ALL ORDER BY agree_pct DESC, a.model, other_model
        """,
    ),
    "slippage": _worked(
        "How much worse than the approved price fills were, in basis points weighted by notional; below 0 is better.",
        """
        SELECT o.instrument, o.role, count(*) AS fills, round(sum(f.quantity * f.price), 2) AS notional,
               round(10000 * sum((f.price - a.price) * f.quantity * if(f.side = 'buy', 1, -1))
                     / sum(a.price * f.quantity), 2) AS slippage_bps
        FROM (SELECT * REPLACE (quantity::DOUBLE AS quantity, price::DOUBLE AS price) FROM order_filled) AS f
        JOIN order_requested AS o ON f."order" = o.id
        JOIN (SELECT id, price::DOUBLE AS price FROM trade_approved) AS a ON o.approval = a.id
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "cost": _worked(
        "What each model cost, and what an answer of it did; failures cost too.",
        """
        SELECT model, count(*) AS asked, count(*) FILTER (answered) AS answered, sum(tokens) AS tokens,
               sum(cost_usd) AS cost_usd, round(sum(cost_usd) / count(*) FILTER (answered), 6) AS usd_an_answer
        FROM (SELECT model, true AS answered, prompt_tokens + reply_tokens AS tokens, cost_usd FROM verdict_given
              UNION ALL SELECT model, false, 0, cost_usd FROM verdict_failed)
        GROUP BY model ORDER BY cost_usd DESC, model
        """,
    ),
    "rejects": _worked(
        "Which limits refused trades, how often, and when last.",
        """
        SELECT book, if("limit" = '', 'none', "limit") AS limit_hit, count(*) AS rejected,
               utc(max(observed_at)) AS last, any_value(reason ORDER BY observed_at DESC) AS last_reason
        FROM trade_rejected
        GROUP BY ALL ORDER BY rejected DESC, book, limit_hit
        """,
    ),
    "latency": _worked(
        "How long orders waited for a fill at the venue, in ms.",
        """
        SELECT o.instrument, o.order_type, count(*) AS fills,
               round(quantile_cont((f.occurred_at - o.observed_at) / 1e6, 0.5), 1) AS median_ms,
               round(quantile_cont((f.occurred_at - o.observed_at) / 1e6, 0.99), 1) AS p99_ms,
               round(max((f.occurred_at - o.observed_at) / 1e6), 1) AS most_ms
        FROM order_filled AS f JOIN order_requested AS o ON f."order" = o.id
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "accuracy": _worked(
        "How often each model was right, and its Brier score (Brier 1950): 0 is best, 0.25 is a coin's.",
        """
        SELECT model, count(*) AS predictions, round(avg(horizon_ms) / 60000, 1) AS mean_horizon_min,
               round(100 * avg(CAST(correct AS INT)), 1) AS hit_rate_pct,
               round(avg(power(confidence - CAST(correct AS INT), 2)), 4) AS brier,
               round(avg(return_pct * if(action = 'SELL', -1, 1)), 4) AS return_pct
        FROM outcome_measured
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "exposure": _worked(
        "Equity, exposure and leverage of each book, hour by hour, at the hour's last mark.",
        """
        SELECT book, date_trunc('hour', utc(observed_at)) AS hour, arg_max(equity, seq) AS equity,
               arg_max(gross_exposure, seq) AS gross_exposure,
               round(100 * arg_max(gross_exposure / nullif(equity, 0), seq), 1) AS exposure_pct
        FROM equity_marked
        GROUP BY ALL ORDER BY ALL
        """,
    ),
    "texts": _worked(
        "How many texts each source told a day, by topic and key.",
        """
        SELECT CAST(utc(observed_at) AS DATE) AS day, topic, key, source, count(*) AS texts
        FROM (SELECT 'tweets' AS topic, observed_at, key, author AS source FROM tweet_posted
              UNION ALL SELECT 'news', observed_at, key, source FROM news_published)
        GROUP BY ALL ORDER BY day, texts DESC, topic, key, source
        """,
    ),
    "slowest": _worked(
        "The twenty questions that took longest, and who was slowest to answer.",
        """
        SELECT question, any_value(instrument) AS instrument, count(*) AS asked, max(latency_ms) AS slowest_ms,
               arg_max(model, latency_ms) AS slowest_model, count(*) FILTER (outcome <> 'answered') AS failed
        FROM (SELECT question, instrument, model, latency_ms, 'answered' AS outcome FROM verdict_given
              UNION ALL SELECT question, instrument, model, latency_ms, reason FROM verdict_failed)
        GROUP BY question ORDER BY slowest_ms DESC, question LIMIT 20
        """,
    ),
}
"""Name to query."""
