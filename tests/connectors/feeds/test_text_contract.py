"""Every feed of texts keeps what every feed keeps."""

from __future__ import annotations

import asyncio

import pytest

from tests.connectors.feeds.text_sources import CASES
from tests.contracts.feeds import CHECKS, Check, FeedCase


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_feed_of_texts_keeps_the_contract(case: FeedCase, check: Check) -> None:
    asyncio.run(check(case))  # type: ignore[arg-type]
