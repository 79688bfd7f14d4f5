"""A voter that reads prices alone: go with the trend, unless it is overstretched or just broke.

The distance between the fast and the slow EMA, measured in ATRs (Wilder 1978), is the trend; RSI at an extreme or a
clear move against it since the last question vetoes it.
"""

from __future__ import annotations

from connectors.voters.protocol import Answer, Opinion, abstention, computed
from schemas.verdicts import Action, PricePart, VerdictRequested

MIN_BARS = 50
"""Fewer leave the averages near their first price."""
TREND_ATRS = 0.5
"""EMAs closer than this are no trend."""
CERTAIN_ATRS = 2.0
"""The distance at which confidence is 1."""
RSI_HIGH, RSI_LOW = 75.0, 25.0
AGAINST_ATRS = 3.0
"""A move against the trend, since the last question, that vetoes it."""
STOP_ATRS, TARGET_ATRS = 8.0, 16.0
"""One-minute ATRs are small beside costs, so the stop is wide; the target is twice as far."""
HORIZON_MS = 4 * 3_600_000


class TrendVoter:
    """Votes for the trend."""

    def answer(self, request: VerdictRequested, within_s: float) -> Answer:
        return computed(self._opinion(request))

    def _opinion(self, request: VerdictRequested) -> Opinion:
        prices = [part for part in request.prompt if type(part) is PricePart and part.instrument == request.instrument]
        if not prices:
            return abstention("No price of this instrument, so no opinion.")
        price = max(prices, key=lambda part: part.observed_at)
        if price.bars < MIN_BARS:
            return abstention(f"Only {price.bars} bars of the {MIN_BARS} that a trend needs.")
        if price.atr <= 0.0:
            return abstention("The price has not moved, so there is no trend.")
        return _vote(price)


def _vote(price: PricePart) -> Opinion:
    gap = (price.ema_fast - price.ema_slow) / price.atr
    action: Action = "HOLD" if abs(gap) < TREND_ATRS else "BUY" if gap > 0.0 else "SELL"
    sign = 1.0 if gap > 0.0 else -1.0
    factors = (f"EMA gap {gap:+.2f} ATR", f"RSI {price.rsi:.0f}", f"return {price.return_since_ask:+.2%}")
    trend = f"The fast EMA is {abs(gap):.2f} ATRs {'above' if gap > 0.0 else 'below'} the slow one"
    if action == "HOLD":
        confidence = round(1.0 - abs(gap) / TREND_ATRS, 4)
        return Opinion(action="HOLD", confidence=confidence, reasoning=f"{trend}: no trend.", key_factors=factors)
    veto = _veto(price, sign)
    if veto:
        return Opinion(action="HOLD", confidence=0.5, reasoning=f"{trend}, but {veto}.", key_factors=factors)
    stop, target = price.close - sign * STOP_ATRS * price.atr, price.close + sign * TARGET_ATRS * price.atr
    return Opinion(
        action=action,
        confidence=round(min(1.0, abs(gap) / CERTAIN_ATRS), 4),
        reasoning=f"{trend} and RSI is {price.rsi:.0f}: the trend is {'up' if sign > 0.0 else 'down'}.",
        key_factors=factors,
        risk_note="Averages turn late; a sudden reversal costs the distance to the stop.",
        stop_price=stop if stop > 0.0 else None,
        target_price=target if target > 0.0 else None,
        horizon_ms=HORIZON_MS,
    )


def _veto(price: PricePart, sign: float) -> str:
    """Say what speaks against following the trend; empty if nothing does."""
    if sign > 0.0 and price.rsi >= RSI_HIGH:
        return f"RSI of {price.rsi:.0f} says overbought"
    if sign < 0.0 and price.rsi <= RSI_LOW:
        return f"RSI of {price.rsi:.0f} says oversold"
    if -sign * price.return_since_ask * price.close > AGAINST_ATRS * price.atr:
        return f"the price has moved {price.return_since_ask:+.2%} against it since the last question"
    return ""


TREND = TrendVoter()
