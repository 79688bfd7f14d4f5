"""A proxy that does to an HTTP service what networks do: refuses, dawdles, cuts bodies, resets, loses answers.

It also notes each request, so that a test can count them.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

Fault = Literal["", "503", "slow", "cut", "reset", "lost"]
"""Nothing; an answer of 503 without asking; a trickle; half the body, then a reset; a reset at once; the service does
what was asked, and its answer never comes."""
DAWDLE_S = 0.02
TRICKLE = 20
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})


class Request(NamedTuple):
    method: str
    path: str
    """With the query."""
    ranged: str
    """The header Range."""
    fault: Fault


class FaultProxy:
    """A proxy before the service at `upstream`, an `http://HOST:PORT`. To be used as a context."""

    def __init__(self, upstream: str, fault: Callable[[str, str], Fault] = lambda _method, _path: "") -> None:
        """`fault` is asked for each request, by its method and path; it may be replaced while the proxy runs."""
        self.fault = fault
        self.requests: list[Request] = []
        self._host = urlsplit(upstream).netloc
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, list[Any], bytes]:
        upstream = http.client.HTTPConnection(self._host, timeout=30)
        try:
            upstream.request(method, path, body, headers)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its parent's name
        """The test keeps its own notes."""

    def handle_any(self) -> None:
        fault = self.proxy.fault(self.command, self.path)
        self.proxy.requests.append(Request(self.command, self.path, self.headers.get("Range", ""), fault))
        if fault == "reset":
            self._reset()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "503":
            self._answer(503, [], b"<Error><Code>ServiceUnavailable</Code><Message>no</Message></Error>")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "expect"}}
        status, told, data = self.proxy.ask(self.command, self.path, body, headers)
        if fault == "lost":
            self._reset()
        else:
            self._answer(status, told, data, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815 - names that its parent looks for

    def _answer(self, status: int, headers: list[Any], data: bytes, fault: Fault = "") -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        told = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", told)
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self._reset()
        elif fault == "slow":
            for start in range(0, len(data), len(data) // TRICKLE + 1):
                self.wfile.write(data[start : start + len(data) // TRICKLE + 1])
                time.sleep(DAWDLE_S)
        else:
            self.wfile.write(data)

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.close_connection = True
        self.rfile.close()
        self.connection.close()
