"""A feed from its settings; what a kind needs is loaded when one is opened."""

from __future__ import annotations

from connectors.feeds.protocol import Feed
from connectors.feeds.settings import (
    ExchangeFeed,
    FilesFeed,
    IbFeed,
    Kind,
    NewsApiFeed,
    RssFeed,
    WebhookFeed,
    XFeed,
)


def open_feed(name: str, settings: Kind) -> Feed:  # noqa: PLR0911 - one of each kind
    """Make the feed `name`; nothing is connected yet. Raises FeedError for settings that cannot be used."""
    match settings:
        case ExchangeFeed():
            from connectors.feeds.exchange import Exchange  # noqa: PLC0415 - ccxt is slow to load

            return Exchange(name, settings)
        case XFeed():
            from connectors.feeds.x import X  # noqa: PLC0415 - aiohttp is slow to load

            return X(name, settings)
        case NewsApiFeed():
            from connectors.feeds.newsapi import NewsApi  # noqa: PLC0415 - as x

            return NewsApi(name, settings)
        case RssFeed():
            from connectors.feeds.rss import Rss  # noqa: PLC0415 - as x, and feedparser is slow to load

            return Rss(name, settings)
        case FilesFeed():
            from connectors.feeds.files import Files  # noqa: PLC0415 - pyarrow is slow to load

            return Files(name, settings)
        case WebhookFeed():
            from connectors.feeds.webhook import Webhook  # noqa: PLC0415 - as x

            return Webhook(name, settings)
        case IbFeed():
            from connectors.feeds.ib import InteractiveBrokers  # noqa: PLC0415 - as above

            return InteractiveBrokers(name, settings)
