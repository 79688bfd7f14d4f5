"""Short ways to put a question to a mind that speaks to the test's server, with all that it pays and tells kept."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.models import Mind, provider_of
from connectors.models.provider import Provider
from connectors.models.purse import BudgetPurse
from connectors.voters.protocol import Answer
from schemas.base import NS_PER_MIN
from schemas.book import BudgetSettings, ModelSettings
from schemas.checks import check
from schemas.codec import decode, encode
from schemas.verdicts import (
    InstructionPart,
    ModelCallEnded,
    ModelCallStarted,
    PricePart,
    TextPart,
    VerdictRequested,
)
from tests.connectors.models.servers import Server, Wire

KEY = "sk-test-0123456789abcdef-secret"
AT = 1_704_067_200_000_000_000
PRICES = {"usd_per_million_prompt_tokens": Decimal(1), "usd_per_million_reply_tokens": Decimal(10)}
USED_USD = Decimal("0.0015")
"""Of one answer that tells the tokens USED."""


def question(**other: Any) -> VerdictRequested:
    fields: dict[str, Any] = {
        "id": "0123456789abcdef0123456789abcdef",
        "key": "BTC/USDT@x",
        "occurred_at": AT,
        "observed_at": AT,
        "book": "book",
        "question": "q",
        "instrument": "BTC/USDT@x",
        "model": "m",
        "prompt": (
            InstructionPart(text="You vote on one trade."),
            PricePart(
                cites="bar",
                observed_at=AT,
                instrument="BTC/USDT@x",
                close=100.0,
                return_since_ask=0.01,
                ema_fast=101.0,
                ema_slow=99.0,
                rsi=60.0,
                atr=1.0,
                volatility=0.01,
                drawdown=-0.02,
                bars=100,
            ),
            TextPart(cites="tweet", observed_at=AT, source="wire", text="All is well.", sentiment=0.4),
        ),
        "prompt_version": "v1",
        "prompt_sha256": "0" * 64,
        "deadline_at": AT + NS_PER_MIN,
        "trigger": "cadence",
    }
    return VerdictRequested(**(fields | other))


def settings_of(wire: Wire, server: Server, **other: Any) -> ModelSettings:
    fields: dict[str, Any] = {
        "kind": wire.kind,
        "model_id": "anthropic.claude-3-test" if wire.kind == "bedrock" else "claude-3-test",
        "endpoint": wire.endpoint(server),
        **PRICES,
    }
    if wire.kind != "bedrock":
        fields["api_key_env"] = "QUORUM_TEST_KEY"
    return msgspec.convert(fields | other, ModelSettings)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that the services want, and nothing of the machine's own."""
    for name, value in {
        "QUORUM_TEST_KEY": KEY,
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "5",
        "AWS_RETRY_MODE": "adaptive",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


class Desk:
    """A mind, and all that it pays and tells."""

    def __init__(self, settings: ModelSettings, provider: Provider | None = None, **budget: Any) -> None:
        self.told: list[ModelCallStarted | ModelCallEnded] = []
        self.purse = BudgetPurse(BudgetSettings(**budget))
        self.mind = Mind("m", settings, provider or provider_of(settings, 20.0), self.purse, self._tell, time.time_ns)

    def _tell(self, event: ModelCallStarted | ModelCallEnded) -> None:
        check(event)
        assert decode(encode(event)) == event
        self.told.append(event)

    def ask(self, within_s: float = 30.0) -> Answer:
        """Ask, and hold to what is true of every answer: what it costs is what was paid and told."""
        self.told.clear()
        before = self.purse.spent()
        answer = self.mind.answer(question(), within_s)
        ends = self.ends
        assert [end.cause for end in ends] == [start.id for start in self.starts]
        assert answer.cost_usd == sum((end.cost_usd for end in ends), Decimal(0)) == self.purse.spent() - before
        assert (answer.prompt_tokens, answer.reply_tokens) == (
            sum(end.prompt_tokens for end in ends),
            sum(end.reply_tokens for end in ends),
        )
        for start, end in zip(self.starts, ends, strict=True):
            assert end.cost_usd <= start.worst_cost_usd
        return answer

    @property
    def starts(self) -> list[ModelCallStarted]:
        return [event for event in self.told if isinstance(event, ModelCallStarted)]

    @property
    def ends(self) -> list[ModelCallEnded]:
        return [event for event in self.told if isinstance(event, ModelCallEnded)]
