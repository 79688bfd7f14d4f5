"""What this worker says of itself over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for a supervisor.

The server has a thread and a loop of its own, so it answers whatever the parts do. It only reads, shows no setting
and no secret, and listens on this machine alone unless told otherwise.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Literal

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import QuorumError
from streams import metrics

LOCAL = "127.0.0.1"
HEALTHY_S = 60.0
"""A part that has run for so long works: against a cluster that is away the clients give up in half the time."""
TROUBLED_S = 120.0
"""A part that has been restarted for so long without ever working is the process's trouble."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
LONGEST_STREAK = 16
"""Restarts in a row that are told apart: by then the pause is at its longest."""
START_S = 10.0
log = getLogger("quorum.health")


class Part(msgspec.Struct, frozen=True):
    """A part of the worker (a sequencer, the desk, the gateway, ...) and how it is."""

    state: Literal["starting", "running", "restarting", "failed"]
    detail: str = ""
    since: float = 0.0
    """Unix time in s."""
    restarts: int = 0
    troubled_since: float = 0.0
    """Unix time in s of the first restart after which it has not worked for a while; 0 where it works."""
    streak: int = 0
    """Restarts since then."""

    def works(self, now: float) -> bool:
        """Tell whether the part has run for long enough."""
        return self.state == "running" and now - self.since >= HEALTHY_S

    def is_stuck(self, now: float) -> bool:
        """Tell whether its restarts lead nowhere. One that runs at last is given the time to show that it works."""
        if not self.troubled_since or self.works(now):
            return False
        return (now if self.state == "restarting" else self.since) - self.troubled_since >= TROUBLED_S


class Health:
    """How the parts are. Whoever runs them tells; any thread may tell and ask."""

    def __init__(self, worker: str, clock: Callable[[], float] = time.time) -> None:
        """No part is known yet, so the worker is alive and not ready. `clock` gives Unix time in s."""
        self._worker, self._clock = worker, clock
        self._parts: dict[str, Part] = {}
        self._probes: dict[str, Callable[[], str]] = {}
        self._shown: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def starting(self, part: str) -> None:
        """Name a part before it runs."""
        self._set(part, "starting")

    def running(self, part: str) -> None:
        """A part does its work."""
        self._set(part, "running")

    def restarting(self, part: str, error: str) -> float:
        """A part ended with `error` and will be started anew; this counts the restart.

        Gives the seconds to wait before: twice as long each time, and short again once the part has worked.
        """
        self._set(part, "restarting", error, restarts=1)
        metrics.restarted(part)
        return float(min(FIRST_PAUSE_S * 2 ** (self._parts[part].streak - 1), LONGEST_PAUSE_S))

    def failed(self, part: str, error: str) -> None:
        """A part ended with `error` and stays down: the worker is no longer healthy."""
        self._set(part, "failed", error)

    def gone(self, part: str) -> None:
        """A part ended as it should, for its work is elsewhere now."""
        with self._lock:
            self._parts.pop(part, None)

    def probe(self, name: str, reason: Callable[[], str]) -> None:
        """Ask `reason` whenever readiness is asked for: it gives why not, or nothing. It must not wait."""
        with self._lock:
            self._probes[name] = reason

    def show(self, name: str, what: Callable[[], object]) -> None:
        """Put what `what` gives on both pages, under a name; it is JSON, must not wait, and decides nothing."""
        with self._lock:
            self._shown[name] = what

    def _set(
        self,
        part: str,
        state: Literal["starting", "running", "restarting", "failed"],
        detail: str = "",
        restarts: int = 0,
    ) -> None:
        now = self._clock()
        with self._lock:
            before = self._parts.get(part) or Part(state)
            works = before.works(now)
            troubled_since, streak = (0.0, 0) if works else (before.troubled_since, before.streak)
            if restarts and not troubled_since:
                troubled_since = now
            self._parts[part] = Part(
                state, detail, now, before.restarts + restarts, troubled_since, min(streak + restarts, LONGEST_STREAK)
            )

    def healthz(self) -> tuple[bool, dict[str, object]]:
        """Tell whether this process is worth keeping: no part has failed for good, none is restarted for ever."""
        now = self._clock()
        with self._lock:
            parts = dict(self._parts)
        if any(part.state == "failed" for part in parts.values()):
            return False, self._page("failed", parts)
        if any(part.is_stuck(now) for part in parts.values()):
            return False, self._page("restarting", parts)
        return True, self._page("ok", parts)

    def readyz(self) -> tuple[bool, dict[str, object]]:
        """Tell whether every part runs and no probe objects."""
        with self._lock:
            parts, probes = dict(self._parts), dict(self._probes)
        reasons = {name: f"{part.state} {part.detail}".rstrip() for name, part in parts.items()}
        reasons = {name: reason for name, reason in reasons.items() if parts[name].state != "running"}
        for name, ask in probes.items():
            reason = ask()
            if reason:
                reasons[name] = reason
        if not parts:
            reasons["worker"] = "no part has started"
        page = self._page("not ready" if reasons else "ready", parts)
        return not reasons, page | {"reasons": reasons}

    def _page(self, status: str, parts: dict[str, Part]) -> dict[str, object]:
        with self._lock:
            shown = dict(self._shown)
        return {name: what() for name, what in shown.items()} | {
            "status": status,
            "worker": self._worker,
            "parts": {name: msgspec.to_builtins(part) for name, part in sorted(parts.items())},
        }


@contextmanager
def serve(health: Health, port: int, host: str = LOCAL) -> Iterator[None]:
    """Answer on `host`:`port` until the block ends; port 0 serves nothing. Raises QuorumError if it is taken."""
    if port == 0:
        yield
        return
    server = _Server(health, port, host)
    server.start()
    try:
        yield
    finally:
        server.stop()


class _Server:
    def __init__(self, health: Health, port: int, host: str) -> None:
        self._health, self._port, self._host = health, port, host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(self._open(), self._loop)
        try:
            started.result(START_S)
        except OSError as error:
            self.stop()
            raise QuorumError(
                f"health pages cannot be served on {self._host}:{self._port}: {error.strerror}; choose another port"
            ) from None
        log.info("health pages", extra={"host": self._host, "port": self._port})

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _answer(*self._health.healthz())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer(*self._health.readyz())


def _answer(good: bool, page: dict[str, object]) -> web.Response:  # noqa: FBT001 - it has no other name here
    return web.json_response(page, status=200 if good else 503, dumps=json.dumps)
