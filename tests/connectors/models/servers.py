"""A server that answers as the three services do, byte for byte as it is told, to the SDKs that speak to them.

An answer is a `Says`: a status, headers and a body, sent whole, cut in the middle, or dripped. A `Wire` knows how one
service writes an answer, a refusal and an error.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.models.answers import TOOL

VOTE: dict[str, Any] = {
    "reasoning": "The trend holds.",
    "key_factors": ["trend", "news"],
    "risk_note": "A rate decision is near.",
    "action": "BUY",
    "confidence": 0.7,
    "size_hint": 0.5,
    "stop_price": 90.0,
    "target_price": 120.5,
    "horizon_ms": 3_600_000,
}
USED = (1000, 50)
"""Tokens of prompt and reply that every answer tells."""
PROSE = f"Sure! Here is my vote: {json.dumps(VOTE)}"


@dataclass(frozen=True)
class Says:
    """What the server does with one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    cut: bool = False
    """Half of the body is sent, then the connection is reset."""
    drip_s: float = 0.0
    """A byte at a time, so long after each other."""
    silent: bool = False
    """Nothing is sent."""
    closed: bool = False
    """The connection is closed without a word."""
    raw: bool = False
    """The body is all that is sent: status and headers are its own."""


@dataclass(frozen=True)
class Heard:
    """A request, as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Server(socketserver.ThreadingTCPServer):
    """Does what its script says, request after request; the last line of the script holds for all that follow."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: Sequence[Says] = ()
        self.heard: list[Heard] = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def plays(self, script: Sequence[Says]) -> None:
        """Forget what was heard, and start a script."""
        with self.lock:
            self.script, self.heard = script, []

    def next(self, heard: Heard) -> Says:
        with self.lock:
            self.heard.append(heard)
            return self.script[min(len(self.heard), len(self.script)) - 1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gives up is what is tested."""


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        line = self.rfile.readline().decode().split()
        headers: dict[str, str] = {}
        while (written := self.rfile.readline().decode().strip()) != "":
            name, _, value = written.partition(":")
            headers[name.lower()] = value.strip()
        sent = self.rfile.read(int(headers.get("content-length", "0")))
        if line:
            self._do(self.server.next(Heard(line[1], headers, json.loads(sent) if sent else {})))

    def _do(self, says: Says) -> None:
        if says.closed:
            return
        if says.silent:
            self.server.over.wait(60)
            return
        head = [f"HTTP/1.1 {says.status} Said", f"Content-Length: {len(says.body)}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in says.headers.items()]
        whole = says.body if says.raw else "\r\n".join(head).encode() + b"\r\n\r\n" + says.body
        if says.cut:
            self.wfile.write(whole[: len(whole) - len(says.body) // 2])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.close()
            return
        with suppress(OSError):
            self._send(whole, says.drip_s)

    def _send(self, whole: bytes, drip_s: float) -> None:
        if not drip_s:
            self.wfile.write(whole)
            return
        for i in range(len(whole)):
            self.wfile.write(whole[i : i + 1])
            if self.server.over.wait(drip_s):
                return


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def made(body: object, status: int = 200, **headers: str) -> Says:
    """Answer with JSON."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Says(json.dumps(body).encode(), status, {"Content-Type": "application/json", **told})


class Wire(Protocol):
    """How one service writes."""

    kind: str
    path: str
    """Of the requests; starts with it."""
    model_version: str
    filtered: str
    """Why an answer stops that a filter of the provider held back."""
    cut_off: str
    """Why an answer stops that is too long."""

    def endpoint(self, server: Server) -> str:
        """Address for the book."""

    def votes(self, *arguments: str, text: str = "", stop: str = "", tool: str = TOOL) -> Says:
        """Answer with so many calls of the tool, or contents, and a text beside them."""

    def refuses(self) -> Says:
        """The model itself declines."""

    def error(self, status: int, **headers: str) -> Says:
        """An error as the service words it."""


class ChatWire:
    """OpenAI's chat completions."""

    kind, path, model_version = "openai", "/v1/chat/completions", "gpt-test-2026-01-01"
    filtered, cut_off = "content_filter", "length"

    def endpoint(self, server: Server) -> str:
        return f"{server.url}/v1"

    def votes(self, *arguments: str, text: str = "", stop: str = "", tool: str = TOOL) -> Says:
        contents = [text] if text and not arguments else arguments or ("",)
        return self._completion([{"content": content} for content in contents], stop or "stop")

    def refuses(self) -> Says:
        return self._completion([{"content": None, "refusal": "I can't help with that."}], "stop")

    def error(self, status: int, **headers: str) -> Says:
        code = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}.get(status, "server_error")
        told = {"message": "Incorrect API key provided: sk-te****cret", "type": "an_error", "param": None, "code": code}
        return made({"error": told}, status, **headers)

    def _completion(self, messages: list[dict[str, Any]], stop: str) -> Says:
        return made(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_767_225_600,
                "model": self.model_version,
                "choices": [
                    {"index": i, "message": {"role": "assistant", "refusal": None, **message}, "finish_reason": stop}
                    for i, message in enumerate(messages)
                ],
                "usage": {"prompt_tokens": USED[0], "completion_tokens": USED[1], "total_tokens": sum(USED)},
            }
        )


class MessagesWire:
    """Anthropic's Messages API."""

    kind, path, model_version = "anthropic", "/v1/messages", "claude-test-20260101"
    filtered, cut_off = "refusal", "max_tokens"

    def endpoint(self, server: Server) -> str:
        return server.url

    def votes(self, *arguments: str, text: str = "", stop: str = "", tool: str = TOOL) -> Says:
        blocks = [f'{{"type":"text","text":{json.dumps(text)}}}'] if text else []
        blocks += [
            f'{{"type":"tool_use","id":"toolu_{i}","name":"{tool}","input":{each}}}' for i, each in enumerate(arguments)
        ]
        told = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self.model_version,
            "stop_reason": stop or ("tool_use" if arguments else "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": USED[0] - 100,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 0,
                "output_tokens": USED[1],
            },
        }
        body = f'{json.dumps(told)[:-1]},"content":[{",".join(blocks)}]}}'
        return Says(body.encode())

    def refuses(self) -> Says:
        return self.votes(text="I can't help with that.", stop="refusal")

    def error(self, status: int, **headers: str) -> Says:
        code = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
        told = {"type": code.get(status, "api_error"), "message": "invalid x-api-key: sk-te****cret"}
        return made({"type": "error", "error": told}, status, **headers)


class ConverseWire:
    """Bedrock's Converse."""

    kind, path, model_version = "bedrock", "/model/anthropic.claude-3-test/converse", ""
    filtered, cut_off = "guardrail_intervened", "max_tokens"

    def endpoint(self, server: Server) -> str:
        return server.url

    def votes(self, *arguments: str, text: str = "", stop: str = "", tool: str = TOOL) -> Says:
        blocks = [f'{{"text":{json.dumps(text)}}}'] if text else []
        blocks += [
            f'{{"toolUse":{{"toolUseId":"tooluse_{i}","name":"{tool}","input":{each}}}}}'
            for i, each in enumerate(arguments)
        ]
        told = {
            "metrics": {"latencyMs": 900},
            "stopReason": stop or ("tool_use" if arguments else "end_turn"),
            "usage": {"inputTokens": USED[0], "outputTokens": USED[1], "totalTokens": sum(USED)},
        }
        message = f'{{"message":{{"role":"assistant","content":[{",".join(blocks)}]}}}}'
        return Says(f'{json.dumps(told)[:-1]},"output":{message}}}'.encode())

    def refuses(self) -> Says:
        return self.votes(text="I can't help with that.", stop="content_filtered")

    def error(self, status: int, **headers: str) -> Says:
        kind = {
            401: "UnrecognizedClientException",
            404: "ResourceNotFoundException",
            429: "ThrottlingException",
            503: "ServiceUnavailableException",
        }.get(status, "InternalServerException")
        return made({"message": "The token sk-te****cret is invalid."}, status, **headers, x_amzn_ErrorType=kind)


WIRES: tuple[Wire, ...] = (ConverseWire(), ChatWire(), MessagesWire())
