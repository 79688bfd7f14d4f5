"""Posts of X by its API v2: the filtered stream, with rules that follow the settings, and recent search for gaps.

The stream is opened first and then what was missed is searched for, so nothing falls between the two. Reconnects
wait as X asks for: https://docs.x.com/x-api/fundamentals/handling-disconnections
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from connectors.feeds import xwire as wire
from connectors.feeds.http import REFUSED_S, Service, answer, asked_wait_s, decoded, header_secret
from connectors.feeds.protocol import Since, Sink, Stream
from connectors.feeds.settings import XFeed
from connectors.feeds.texts import Teller, any_of, iso, iso_ns, tweet
from schemas.base import NS_PER_S
from schemas.errors import FeedError
from schemas.texts import TweetPosted

_STREAM = "/2/tweets/search/stream"
_RULES = "/2/tweets/search/stream/rules"
_RECENT = "/2/tweets/search/recent"
_FIELDS = {
    "tweet.fields": "created_at,public_metrics,referenced_tweets,note_tweet",
    "expansions": "author_id",
    "user.fields": "username,public_metrics",
}
_MAX_RULE_CHARS = 1_024
_MAX_LINE_BYTES = 1_000_000
_SEARCHABLE_NS = (7 * 86_400 - 120) * NS_PER_S
"""Recent search looks back for seven days, and refuses what asks for more."""
_OVERLAP_NS = 30 * NS_PER_S
"""Posts do not come in the order of their ids."""
_NETWORK_STEP_S, _NETWORK_MOST_S = 0.25, 16.0
_HTTP_FIRST_S, _HTTP_MOST_S = 5.0, 320.0
_LIMITED_FIRST_S, _LIMITED_MOST_S = 60.0, 900.0
_OK, _CREATED, _UNAUTHORISED, _FORBIDDEN, _LIMITED = 200, 201, 401, 403, 429


class _Pause:
    """How long to wait before the next attempt, as X documents it."""

    def __init__(self) -> None:
        self.connected()

    def connected(self) -> None:
        """The next failure is the first."""
        self._network = self._http = self._limited = 0

    def network(self) -> float:
        """At once, then 250 ms more at each attempt, up to 16 s."""
        self._network += 1
        return min(_NETWORK_STEP_S * (self._network - 1), _NETWORK_MOST_S)

    def http(self) -> float:
        """5 s, doubled at each attempt, up to 320 s."""
        self._http += 1
        return min(_HTTP_FIRST_S * (1 << min(self._http - 1, 10)), _HTTP_MOST_S)

    def limited(self, asked_s: float) -> float:
        """What the answer asks for; where it asks for nothing, a minute, doubled at each attempt."""
        self._limited += 1
        return asked_s or min(_LIMITED_FIRST_S * (1 << min(self._limited - 1, 10)), _LIMITED_MOST_S)


class X:
    """The posts that concern some keys."""

    def __init__(self, name: str, settings: XFeed) -> None:
        """Raises FeedError where the token is not there, or a rule is too long for X."""
        token = header_secret(settings.bearer_token_env)
        self.name = name
        self._settings, self._url = settings, settings.url.rstrip("/")
        self._service = Service(name, self._url, token)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._teller = Teller(TweetPosted, settings.keys)
        self._rules = {key: _rule(name, key, words, settings.query) for key, words in settings.keys.items()}
        self._pause = _Pause()

    @property
    def streams(self) -> Sequence[Stream]:
        """Posts under each key."""
        return self._teller.streams

    async def run(self, sink: Sink, since: Since) -> None:
        """Tell posts as they come, those first that were missed since the last one told."""
        reading = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=self._settings.stale_s)
        async with self._service.session(self._headers, self._pause.network) as session:
            await self._keep_rules(session, sink)
            async with session.get(
                self._url + _STREAM, params=_FIELDS, timeout=reading, allow_redirects=False
            ) as response:
                await self._require(response, sink, _OK)
                sink.heard()
                await self._repair(session, sink, since)
                await self._read(response, sink)

    async def _keep_rules(self, session: aiohttp.ClientSession, sink: Sink) -> None:
        """Make the rules of this feed those of its settings. Rules that others made at X are left alone."""
        own = f"quorum/{self.name}/"
        wanted = {value: f"{own}{key}" for key, value in self._rules.items()}
        async with session.get(self._url + _RULES, allow_redirects=False) as response:
            there: list[wire.Rule] = (await self._json(response, sink, wire.rules, _OK)).data
        stale = [rule.id for rule in there if rule.tag.startswith(own) and wanted.get(rule.value) != rule.tag]
        if stale:
            deletion = {"delete": {"ids": stale}}
            async with session.post(self._url + _RULES, json=deletion, allow_redirects=False) as response:
                await self._json(response, sink, wire.rules_changed, _OK)
        kept = {rule.value for rule in there if rule.id not in stale}
        missing = [{"value": value, "tag": tag} for value, tag in wanted.items() if value not in kept]
        if missing:
            async with session.post(self._url + _RULES, json={"add": missing}, allow_redirects=False) as response:
                changed: wire.RulesChanged = await self._json(response, sink, wire.rules_changed, _OK, _CREATED)
            refused = [problem for problem in changed.errors if problem.title != "DuplicateRule"]
            if refused:
                raise self._service.error(f"X refuses a rule: {refused[0].said}", REFUSED_S)

    async def _repair(self, session: aiohttp.ClientSession, sink: Sink, since: Since) -> None:
        """Tell what was posted since the last post of each key, the oldest first; of a key without one, nothing."""
        found: dict[int, tuple[wire.Tweet, wire.Includes]] = {}
        for key, rule in self._rules.items():
            newest = since.get((TweetPosted, key))
            if newest is not None:
                async for page in self._search(session, sink, rule, newest.occurred_at):
                    found |= {int(post.id): (post, page.includes) for post in page.data if wire.is_id(post.id)}
        for _, (post, includes) in sorted(found.items()):
            self._tell(sink, post, includes)

    async def _search(
        self, session: aiohttp.ClientSession, sink: Sink, rule: str, last_ns: int
    ) -> AsyncIterator[wire.Page]:
        oldest = sink.now() - _SEARCHABLE_NS
        params = {"query": rule, "max_results": "100", "sort_order": "recency", **_FIELDS}
        if last_ns - _OVERLAP_NS > oldest:
            params["since_id"] = str(wire.id_at(last_ns - _OVERLAP_NS))
        else:
            params["start_time"] = iso(oldest)
        for _ in range(self._settings.repair_pages):
            async with session.get(self._url + _RECENT, params=params, allow_redirects=False) as response:
                page: wire.Page = await self._json(response, sink, wire.page, _OK)
            sink.heard()
            yield page
            if not page.meta.next_token:
                return
            params["next_token"] = page.meta.next_token
        sink.refuse(f"a gap of over {self._settings.repair_pages} pages (repair_pages): its oldest posts are left out")

    async def _read(self, response: aiohttp.ClientResponse, sink: Sink) -> None:
        """Tell the stream's lines until it ends; a line that is not whole by then is searched for by the next run."""
        rest = b""
        async for part in response.content.iter_any():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self._hear(sink, line.strip())
            if len(rest) > _MAX_LINE_BYTES:
                raise self._service.error(f"a line of over {_MAX_LINE_BYTES:,} bytes", self._pause.network())
        raise self._service.error("X ended the stream", self._pause.network())

    def _hear(self, sink: Sink, line: bytes) -> None:
        self._pause.connected()
        sink.heard()
        if not line:
            return
        message: wire.Message | None = decoded(wire.message, line)
        if message is None:
            sink.refuse("a line of the stream that is no post", self._service.hidden(line.decode("utf-8", "replace")))
        elif message.data is not None:
            self._tell(sink, message.data, message.includes)
        else:
            said = message.errors[0].said if message.errors else message.said
            raise self._service.error(f"X ends the stream: {said}", self._pause.network())

    def _tell(self, sink: Sink, post: wire.Tweet, includes: wire.Includes) -> None:
        if not wire.is_id(post.id):
            sink.refuse("a post without an id of X", self._service.hidden(post.text))
            return
        user = next((user for user in includes.users if user.id == post.author_id), wire.User(id=post.author_id))
        text = post.note_tweet.text or post.text
        event = tweet(
            sink,
            id=post.id,
            author=user.username or user.id,
            posted_at=iso_ns(post.created_at) or wire.at_id(int(post.id)),
            text=html.unescape(text),
            url=f"https://x.com/{user.username or 'i'}/status/{post.id}",
            followers=user.public_metrics.followers_count,
            retweets=post.public_metrics.retweet_count,
            is_retweet=any(each.type == "retweeted" for each in post.referenced_tweets),
        )
        self._teller.tell(sink, event)

    async def _json(self, response: aiohttp.ClientResponse, sink: Sink, decode: wire.Decode, *right: int) -> Any:  # noqa: ANN401
        await self._require(response, sink, *right)
        data = await answer(response)
        value = decoded(decode, data) if data is not None else None
        if value is None:
            raise self._service.error("X answers what is no JSON of its API", self._pause.http())
        return value

    async def _require(self, response: aiohttp.ClientResponse, sink: Sink, *right: int) -> None:
        """Raise FeedError for another status, with the wait that X asks for or documents."""
        if response.status in right:
            return
        problem: wire.Problem | None = decoded(wire.problem, await answer(response) or b"")
        said = f"{response.status} {problem.said if problem else ''}".strip()
        if response.status in (_UNAUTHORISED, _FORBIDDEN):
            mend = f"check the token in {self._settings.bearer_token_env} and what its access level allows"
            raise self._service.error(f"X refuses us ({said}): {mend}", REFUSED_S)
        if response.status == _LIMITED:
            wait_s = self._pause.limited(asked_wait_s(response.headers, sink.now()))
            raise self._service.error(f"too many requests or connections ({said})", wait_s)
        raise self._service.error(f"X answers {said}", self._pause.http())


def _rule(feed: str, key: str, words: Sequence[str], query: str) -> str:
    rule = f"({any_of(words)}) {query}".strip()
    if len(rule) > _MAX_RULE_CHARS:
        found = f"the rule of {key} has {len(rule):,} characters, X takes {_MAX_RULE_CHARS:,}"
        raise FeedError(f"feed {feed}: {found}: name fewer words")
    return rule
