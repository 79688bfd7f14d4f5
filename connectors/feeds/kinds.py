"""A feed from its settings; what a kind needs is loaded when one is opened."""

from __future__ import annotations

from connectors.feeds.protocol import Feed
from connectors.feeds.settings import ExchangeFeed, IbFeed, Kind


def open_feed(name: str, settings: Kind) -> Feed:
    """Make the feed `name`; nothing is connected yet. Raises FeedError for settings that cannot be used."""
    match settings:
        case ExchangeFeed():
            from connectors.feeds.exchange import Exchange  # noqa: PLC0415 - ccxt is slow to load

            return Exchange(name, settings)
        case IbFeed():
            from connectors.feeds.ib import InteractiveBrokers  # noqa: PLC0415 - as above

            return InteractiveBrokers(name, settings)
