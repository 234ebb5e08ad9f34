"""A small chat server with OpenAI's protocol, whose answers and failures a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server does: a status with text and headers; or it hangs, or breaks off.

    One that drips begins its answer, and sends a blank now and then, for 5 seconds.
    """

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    break_off: bool = False
    drip: bool = False


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def question(self) -> str:
        """The text of the last message, without its pictures."""
        content = self.body["messages"][-1]["content"]
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content)


def completion(
    *texts: str, finish: str = "stop", tokens: int = 7, prompt_tokens: int = 11
) -> Reply:
    """Return a chat completion with a choice for each text."""
    choices = [
        {"index": place, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        for place, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
    return Reply(json.dumps({"object": "chat.completion", "choices": choices, "usage": usage}))


def error(status: int, message: str, **headers: str) -> Reply:
    """Return a refusal in OpenAI's form; underscores in the names of headers are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message, "code": None}}), status, named)


class ChatServer:
    """The state of the server: what it was asked, and how it replies to each question."""

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        self.reply = reply
        self.models = Reply(json.dumps({"data": [{"id": "m", "owned_by": "vllm"}]}))
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.under_way = self.most_under_way = 0
        self.url = ""

    @property
    def questions(self) -> list[str]:
        """The questions in the order in which they came."""
        return [asked.question for asked in self.asked]

    def handle(self, asked: Asked) -> Reply:
        """Return the reply to a request, and count the requests that are under way."""
        if asked.path.partition("?")[0].endswith("/models"):
            if self.models.hang:
                self.released.wait(60)
            return self.models
        with self.lock:
            self.asked.append(asked)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            reply = self.reply(asked)
            if reply.hang:
                self.released.wait(60)
            return reply
        finally:
            with self.lock:
                self.under_way -= 1


@contextmanager
def serving(reply: Callable[[Asked], Reply]) -> Iterator[ChatServer]:
    """Serve on a free port of this machine; yield the state, with its address up to /v1."""
    state = ChatServer(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as by real servers

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            made = state.handle(Asked(self.path, dict(self.headers), body))
            if made.break_off:
                self.close_connection = True
                return
            content = b" " * 100 if made.drip else made.text.encode("utf-8")
            try:
                self.send_response(made.status)
                for name, value in made.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                while made.drip and not state.released.wait(0.05):
                    self.wfile.write(b" ")
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has gone

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that have gone."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
