"""A feed from its settings; what a kind needs is loaded when one is opened."""

from __future__ import annotations

from importlib import import_module

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

_PLACES: dict[type[Kind], tuple[str, str]] = {
    ExchangeFeed: ("exchange", "Exchange"),
    IbFeed: ("ib", "InteractiveBrokers"),
    XFeed: ("x", "X"),
    NewsApiFeed: ("newsapi", "NewsApi"),
    RssFeed: ("rss", "Rss"),
    FilesFeed: ("files", "Files"),
    WebhookFeed: ("webhook", "Webhook"),
}
"""Kind of settings to the module beside this one and its class: ccxt, aiohttp and pyarrow are slow to load."""


def open_feed(name: str, settings: Kind) -> Feed:
    """Make the feed `name`; nothing is connected yet. Raises FeedError for settings that cannot be used."""
    module, kind = _PLACES[type(settings)]
    feed: Feed = getattr(import_module(f"connectors.feeds.{module}"), kind)(name, settings)
    return feed
