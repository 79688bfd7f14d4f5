"""A model on this machine that speaks OpenAI's chat completions: to the same prompt the same answer, without sense.

It counts its calls and, if asked to, fails some of them, each prompt in the same way on every machine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACTIONS = ("BUY", "SELL", "HOLD")
FAULTS = ("throttled", "broken", "prose", "cut")
BYTES_A_TOKEN = 4


class StubModel(ThreadingHTTPServer):
    """The server. `calls` counts what it was asked, `cost` nothing: prices are the caller's."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, delay_s: float = 0.0, fault_pct: int = 0) -> None:
        """Answer after `delay_s`; of a hundred prompts fail about `fault_pct` on their first call."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.delay_s, self.fault_pct = delay_s, fault_pct
        self.calls = self.prompt_tokens = self.reply_tokens = 0
        self.lock = threading.Lock()
        self.seen: set[str] = set()

    @property
    def url(self) -> str:
        """Give the endpoint of a book's model."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def fault(self, prompt: str) -> str:
        """Say what goes wrong with a call; nothing for most."""
        digest = sha256(prompt.encode()).digest()
        with self.lock:
            first = prompt not in self.seen
            self.seen.add(prompt)
        return FAULTS[digest[1] % len(FAULTS)] if first and digest[0] * 100 < self.fault_pct * 256 else ""


class _Handler(BaseHTTPRequestHandler):
    server: StubModel

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = json.dumps(asked["messages"])
        model = self.server
        with model.lock:
            model.calls += 1
        if model.delay_s:
            time.sleep(model.delay_s)
        fault = model.fault(prompt)
        if fault == "throttled":
            self._send(429, {"error": {"message": "slow down", "type": "rate_limit", "code": "rate_limit_exceeded"}})
        elif fault == "broken":
            self._send(500, {"error": {"message": "oops", "type": "server_error"}})
        else:
            content = "I would buy." if fault == "prose" else answer_to(prompt)
            usage = {"prompt_tokens": len(prompt) // BYTES_A_TOKEN, "completion_tokens": len(content) // BYTES_A_TOKEN}
            with model.lock:
                model.prompt_tokens += usage["prompt_tokens"]
                model.reply_tokens += usage["completion_tokens"]
            self._send(200, completion(content, usage), cut=fault == "cut")

    def _send(self, status: int, body: dict[str, Any], *, cut: bool = False) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:  # noqa: PLR2004 # too many requests
            self.send_header("Retry-After", "0.01")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def answer_to(prompt: str) -> str:
    """Give the answer to a prompt: a vote made of its digest."""
    digest = sha256(prompt.encode()).digest()
    return json.dumps(
        {
            "reasoning": f"The digest of the question begins with {digest.hex()[:8]}.",
            "key_factors": ["digest"],
            "risk_note": "There is no sense in it.",
            "action": ACTIONS[digest[2] % 3],
            "confidence": digest[3] / 255,
            "size_hint": None,
            "stop_price": None,
            "target_price": None,
            "horizon_ms": None,
        }
    )


def completion(content: str, usage: dict[str, int]) -> dict[str, Any]:
    """Give the body that the service would."""
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 0,
        "model": "stub-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": usage,
    }


@contextmanager
def stub_model(delay_s: float = 0.0, fault_pct: int = 0) -> Iterator[StubModel]:
    """Run one until the end of the block."""
    model = StubModel(delay_s, fault_pct)
    serving = threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield model
    finally:
        model.shutdown()
        model.server_close()
        serving.join()
