"""A small HTTP server that speaks vLLM's protocol, for tests of the client and the engine.

It answers with the policy's own completions and log-probabilities; ``spoil`` changes an answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answers:
    """The state of the server: what it was asked, and how its answers are spoilt."""

    def __init__(self, generate: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.generate = generate
        self.asked: list[tuple[str, Any]] = []
        self.version, self.limit = "0.32.0", 4096
        self.status: dict[str, int] = {}
        self.text: dict[str, str] = {}
        self.spoil: Callable[[dict[str, Any]], object] = lambda answer: None
        self.hang = threading.Event()
        self.hang.set()  # a cleared one makes requests to ``hanging`` wait
        self.hanging: tuple[str, ...] = ("/inference/v1/generate",)
        self.made = 0

    def answer(self, path: str, body: Any) -> tuple[int, str]:
        """Return the status and text of an answer."""
        self.asked.append((path, body))
        path = path.partition("?")[0]
        if path in self.hanging:
            self.hang.wait(60)
        if path in self.status or path in self.text:
            return self.status.get(path, 200), self.text.get(path, "")
        if path == "/metrics":
            return 200, f'vllm:generation_tokens_total{{engine="0"}} {self.made}\n'
        if path == "/inference/v1/generate":
            answer = self.generate(body)
            self.spoil(answer)
            return 200, json.dumps(answer)
        answers: dict[str, Any] = {
            "/version": {"version": self.version},
            "/v1/models": {"data": [{"id": "served", "max_model_len": self.limit}]},
            "/collective_rpc": {"results": [{"tensors": 1}]},
        }
        return 200, json.dumps(answers.get(path, {}))


@contextmanager
def serving(generate: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[tuple[str, Answers]]:
    """Serve on a free port of this machine; yield the address and the server's state."""
    answers = Answers(generate)

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            status, text = answers.answer(self.path, body)
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                return  # the client has gone

        do_GET = do_POST = reply

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", answers
    finally:
        answers.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()
