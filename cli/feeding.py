"""`quorum worker feed`: a source of market data or texts on Kafka."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from schemas.errors import FeedError


def run_feed(names: list[str], path: Path | None, worker: str, port: int, host: str) -> None:
    """Run the one feed that `names` holds until Ctrl-C. Raises FeedError for what is no such feed."""
    from connectors.feeds.kinds import open_feed
    from connectors.feeds.settings import load_feeds, secrets_of
    from streams import logs
    from streams.admin import create_topics
    from streams.feeding import FeedHost
    from streams.health import Health, serve
    from streams.kafka import kafka_from
    from streams.live import Worker
    from streams.shutdown import stop_on_signal

    if path is None or len(names) != 1:
        raise FeedError("name one feed and the file that says what it is: quorum worker feed NAME --feeds feeds.yaml")
    (name,) = names
    feeds = load_feeds(path)
    if name not in feeds:
        raise FeedError(f"{path}: has no feed {name}; there are {', '.join(sorted(feeds)) or 'none'}")
    settings = feeds[name]
    feed = open_feed(name, settings)
    kafka = kafka_from()
    shown = worker or f"feed-{name}"
    logs.configure(shown, secrets=[kafka.password, *secrets_of(settings)])
    create_topics(kafka)
    health = Health(shown)
    with ExitStack() as stack:
        stopping = stack.enter_context(stop_on_signal())
        stack.enter_context(serve(health, port, host))
        part = f"feed {name}"
        host_of_it = {part: lambda: FeedHost(kafka, name, feed, health, stale_s=settings.stale_s)}
        Worker(kafka, [], (), health, name=worker, others=host_of_it).run(stopping)
