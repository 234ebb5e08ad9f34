"""Waiting for a vLLM server, which may be slow, hang or die meanwhile.

A server that hangs answers nothing, and so does one whose engine is dead: it waits for its open
calls. What it says of itself besides tells both from one that is at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from vrft.engines.client import Client, Late, ServerFailure

CONCURRENT = 32
"""Requests, one a prompt, that wait for the server at a time."""

LOOK = 1.0
"""Seconds between two looks at a server that is waited for."""

TIMEOUT, START_TIMEOUT = "rollout.vllm.timeout", "rollout.vllm.start_timeout"
"""The settings that limit how long a server is waited for."""


class Patience:
    """The limit of the time in which a server makes nothing, by its own count of tokens.

    ``seconds`` is that limit, of which ``setting`` is the name; ``clock`` tells the time.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.monotonic, setting: str = TIMEOUT
    ) -> None:
        self.seconds, self.clock, self.setting = seconds, clock, setting
        self.made, self.since = -1.0, clock()

    def look(self, made: float | None, *, answered: bool = False) -> None:
        """Take the count of tokens, None where it is not told.

        Raises ServerFailure once it has not changed for ``seconds``. ``answered``: an answer has
        come since the last look, which is a sign of work too.
        """
        if answered or (made is not None and made != self.made):
            self.made = self.made if made is None else made
            self.since = self.clock()
        elif self.clock() - self.since > self.seconds:
            raise ServerFailure(f"it hangs: no token for {self.seconds:g} s ({self.setting})")


def answers(
    client: Client,
    requests: Sequence[dict[str, Any]],
    patience: Patience,
    check_alive: Callable[[], None],
) -> list[Any]:
    """Send all requests at once and return their answers.

    ``check_alive`` raises ServerFailure for a server whose process has ended. Raises ServerFailure
    for a server that fails, or has made nothing for longer than ``patience``.
    """
    with ThreadPoolExecutor(CONCURRENT) as pool:
        futures = [pool.submit(client.generate, request) for request in requests]
        try:
            watch(client, futures, patience, check_alive)
        finally:
            # Threads that wait for a server that hangs would wait forever, and this one for them.
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):
                client.abandon()
                wait(futures, timeout=0.1)
    return [future.result() for future in futures]


def watch(
    client: Client,
    futures: Sequence[Future[Any]],
    patience: Patience,
    check_alive: Callable[[], None],
) -> None:
    """Return when all requests are answered; raise ServerFailure for one that is not."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=LOOK, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if not pending:
            return
        check_alive()
        try:
            made = client.tokens_made()
        except ServerFailure:
            made = None  # busy, or hanging too
        patience.look(made, answered=bool(done))


def exchange(client: Client, action: Callable[[], None], timeout: float) -> None:
    """Send weights by some calls, in the time of ``START_TIMEOUT``.

    Within ``timeout`` seconds the server says at every look that it is in health. Raises
    ServerFailure for one that dies or hangs meanwhile, with the setting whose time is over.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(action)
        try:
            while not wait([future], timeout=LOOK).done:
                ask_health(client, timeout)
        finally:
            while not future.done():
                client.abandon()
                wait([future], timeout=0.1)
    try:
        future.result()
    except Late as late:
        raise ServerFailure(f"{late} ({START_TIMEOUT})") from late


def ask_health(client: Client, timeout: float) -> None:
    """Raise ServerFailure for a server that is not in health, or does not say so in time."""
    try:
        client.call("GET", "/health", timeout=timeout)
    except Late as late:
        raise ServerFailure(f"{late} ({TIMEOUT})") from late
