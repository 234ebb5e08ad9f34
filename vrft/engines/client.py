"""The calls to a vLLM server, and the exchange of weights.

Versions of vLLM differ in this protocol, so ``SUPPORTED`` names the one that is spoken.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from vrft.errors import UserError
from vrft.system.server_words import one_line, words_in

SUPPORTED = "0.32"
"""The minor release of vLLM whose protocol is spoken here and in ``requests``."""

GENERATE = "/inference/v1/generate"
"""The path of requests for completions."""

COUNTERS = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")
"""The first words of the lines of /metrics that count tokens."""


class ServerFailure(Exception):
    """A server that has died, does not answer, or answers what cannot be right.

    The text is one line. The engine starts the server again or ends the run with a UserError.
    """


class Late(ServerFailure):
    """A server that has not answered a call in time; whoever set the limit names its setting."""


class Client:
    """The HTTP calls to one server. Threads may share it; each call has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number, or half of an IPv6 address
            host, port = None, None
        if not host or self.url.casefold() != f"http://{parts.netloc}".casefold() or "@" in url:
            raise UserError(f"rollout.vllm.url={url!r}: give the address of a server on this "
                            "machine, such as http://127.0.0.1:8000")  # fmt: skip
        self.host, self.port = host, port or 80
        self.sockets: set[socket.socket] = set()
        self.lock = threading.Lock()

    def call(self, method: str, path: str, body: Any = None, timeout: float | None = 10.0) -> Any:
        """Return the answer as JSON, "" for an empty one; ``timeout`` None: no limit.

        Raises ServerFailure where there is none, or none that can be read, and UserError for a
        request that the server refuses.
        """
        text = self.text(method, path, body, timeout)
        if not text:
            return ""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ServerFailure(f"no JSON in the answer to {path}: {text[:80]!r}") from error

    def text(self, method: str, path: str, body: Any, timeout: float | None) -> str:
        """Return the text of the server's answer to a request.

        Raises ServerFailure where there is none, and UserError for a request that the server
        refuses.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.connect()
            with self.abandonable(connection.sock):
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                status, text = answer.status, answer.read().decode("utf-8", errors="replace")
        except TimeoutError as error:
            limit = "" if timeout is None else f" within {timeout:g} s"
            raise Late(f"no answer to {path}{limit}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ServerFailure(f"no answer to {path} ({reason})") from error
        finally:
            connection.close()
        if status == 200:
            return text
        reason = one_line(words_in(text)) or "no reason given"
        if 400 <= status < 500:
            raise UserError(f"the vLLM server at {self.url} refuses {path}: {reason}")
        raise ServerFailure(f"status {status} to {path}: {reason}")

    @contextlib.contextmanager
    def abandonable(self, held: socket.socket) -> Iterator[None]:
        """Let ``abandon`` break off what waits for an answer within, on a connection's socket.

        The connection itself forgets its socket while it still reads the answer of a server that
        closes it afterwards.
        """
        with self.lock:
            self.sockets.add(held)
        try:
            yield
        finally:
            with self.lock:
                self.sockets.discard(held)

    def abandon(self) -> None:
        """Break off all calls that wait for an answer; they raise ServerFailure."""
        with self.lock:
            for held in self.sockets:
                with contextlib.suppress(OSError):  # it is closed already
                    held.shutdown(socket.SHUT_RDWR)

    def version(self) -> str:
        """Return the server's version of vLLM."""
        return str(entry(self.call("GET", "/version"), "version", "/version"))

    def models(self) -> tuple[str, int]:
        """Return the name of the model that is served, and its limit of tokens."""
        rows = entry(self.call("GET", "/v1/models"), "data", "/v1/models")
        if not isinstance(rows, list) or not rows:
            raise ServerFailure("no model in the answer to /v1/models")
        name, limit = (entry(rows[0], key, "/v1/models") for key in ("id", "max_model_len"))
        return str(name), int(limit)

    def tokens_made(self) -> float:
        """Return how many tokens the server has read and made: the sign that it is at work.

        Raises ServerFailure where it does not say so now, and UserError where it never will.
        """
        text = self.text("GET", "/metrics", None, timeout=5.0)
        counts = [line for line in text.splitlines() if line.startswith(COUNTERS)]
        if not counts:
            raise UserError(
                f"the vLLM server at {self.url} does not count its tokens at /metrics, so that one "
                "at work cannot be told from one that hangs; start it without --disable-log-stats"
            )
        try:
            return sum(float(line.rsplit(" ", 1)[1]) for line in counts)
        except (ValueError, IndexError) as error:
            raise ServerFailure("/metrics cannot be read") from error

    def generate(self, request: dict[str, Any]) -> Any:
        """Return the answer to a request of ``requests``; it may take any time."""
        return self.call("POST", GENERATE, request, timeout=None)

    def load(self, path: str, timeout: float) -> None:
        """Serve the weights of a safetensors file from now on, and forget all that is cached.

        Requests that are under way are finished first. Within ``timeout`` seconds each.
        """
        body = {"method": "vrft_reload", "args": [path], "timeout": timeout}
        with self.paused(timeout):
            answer = self.call("POST", "/collective_rpc", body, timeout=timeout)
            results = entry(answer, "results", "/collective_rpc")
            if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
                raise ServerFailure(f"the workers loaded no weights: {str(results)[:80]}")

    def load_adapter(self, name: str, folder: str, before: str, timeout: float) -> None:
        """Serve a LoRA adapter under a new name, instead of the one ``before``; "" is none.

        Requests that are under way are finished first, and all that is cached is forgotten. Within
        ``timeout`` seconds each.
        """
        # Under the name that it has, vLLM would read the adapter again at each of its steps.
        body = {"lora_name": name, "lora_path": folder}
        with self.paused(timeout):
            self.text("POST", "/v1/load_lora_adapter", body, timeout)
            if before:
                self.text("POST", "/v1/unload_lora_adapter", {"lora_name": before}, timeout)

    @contextlib.contextmanager
    def paused(self, timeout: float) -> Iterator[None]:
        """Let the server finish its requests, forget all that is cached, and wait meanwhile."""
        # Pausing empties the caches of prefixes, of pictures and of their features: without it,
        # the next request with a cached picture is wrong, or ends the engine.
        self.call("POST", "/pause?mode=wait", timeout=timeout)
        try:
            yield
        except UserError:  # the server is in order, and others may use it
            self.call("POST", "/resume", timeout=timeout)
            raise
        self.call("POST", "/resume", timeout=timeout)


def entry(answer: Any, key: str, path: str) -> Any:
    """Return an entry of a JSON object; raise ServerFailure where there is none."""
    if not isinstance(answer, dict) or answer.get(key) is None:
        raise ServerFailure(f"the answer to {path} has no {key!r}")
    return answer[key]
