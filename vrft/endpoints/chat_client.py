"""The client of a chat server with OpenAI's protocol: requests, retries, and words of refusal.

The key comes from the environment and goes into one header. Nothing that is written or raised here
contains it.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2 as httpx

from vrft.endpoints.server_address import Address
from vrft.errors import UserError
from vrft.system.server_words import one_line, words_in

BUSY = (408, 409, 425, 429)
"""The statuses of a refusal that may be none a moment later, beside all of 500 and above."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries at most, where the server asks for no longer pause."""

CONNECT_TIMEOUT = 30.0
"""Seconds in which a connection must stand."""

FIRST_TIMEOUT = 30.0
"""Seconds in which a server must say which models it has."""

SILENCE = ("no connection", "time-out", "broken connection")
"""The kinds of trouble with a server that says nothing at all."""

# It logs addresses, whose query may be a key.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class Trouble(Exception):
    """A try that failed and may be repeated, in one line, after ``pause`` seconds if asked so."""

    def __init__(self, kind: str, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.kind, self.pause = kind, pause


class ChatClient:
    """Requests to one server, each repeated until it is answered; an async context of its own.

    ``retries`` is how often one request is repeated, ``pause`` the seconds before the first
    repetition, which double with each next, and ``longest_wait`` the seconds that the server may
    ask to wait.
    """

    def __init__(
        self,
        address: Address,
        key: str,
        key_name: str = "",
        *,
        timeout: float = 600.0,
        retries: int = 8,
        pause: float = 1.0,
        longest_wait: float = 600.0,
        connections: int = 8,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.address, self.key_name = address, key_name
        self.secrets = tuple(secret for secret in (key, *address.secrets) if secret)
        self.timeout, self.retries, self.pause = timeout, retries, pause
        self.longest_wait, self.sleep, self.note = longest_wait, sleep, note
        self.tried_again: Counter[str] = Counter()  # kind of trouble -> how often
        self.http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=connections),
            # Another server must not get the key.
            follow_redirects=False,
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def completion(
        self, body: Mapping[str, Any], read: Callable[[Any], Any], named: str
    ) -> Any:
        """Return what ``read`` makes of the answer to a request for a chat completion.

        A busy, failing, silent or babbling server is asked again. ``read`` raises ValueError for an
        answer that no server in order gives. Raises UserError, which begins with ``named``, for a
        request that the server refuses, and for one that no try has answered.
        """
        for attempt in range(self.retries + 1):
            try:
                return await self.tried("POST", "/chat/completions", read, named, body)
            except Trouble as trouble:
                if attempt == self.retries:
                    tries = f"after {attempt + 1} tries: " if attempt else ""
                    raise UserError(f"{named}: {tries}{trouble}; run it again to go on") from None
                if trouble.pause > self.longest_wait:
                    raise UserError(
                        f"{named}: {trouble}, and asks to wait {trouble.pause:.0f} s; run it again "
                        "then, or raise endpoint.longest_wait"
                    ) from None
                self.tried_again[trouble.kind] += 1
                wait = max(trouble.pause, self.backoff(attempt))
                self.note(f"{trouble.kind}: again in {wait:.0f} s")
                await self.sleep(wait)
        raise AssertionError("a request has at least one try")

    def backoff(self, attempt: int) -> float:
        """Return seconds before the next try: doubled with each, and by chance 50 to 100 % of it.

        Requests that failed together would otherwise come together again.
        """
        pause: float = min(self.pause * 2**attempt, LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)

    async def server(self) -> str:
        """Return who serves: "vllm", "sglang", or "openai" for any other.

        A server may lack the list of models that says so. Raises UserError for one that is not
        there, and for a refused key.
        """
        try:
            owners = await self.tried(
                "GET", "/models", owners_of, "--endpoint", timeout=FIRST_TIMEOUT
            )
        except Trouble as trouble:
            if trouble.kind in SILENCE:
                raise UserError(f"--endpoint: {trouble}; is the server up?") from None
            return "openai"
        except Refused as refusal:
            if refusal.status in (401, 403):
                raise
            return "openai"
        return next((name for name in ("vllm", "sglang") if name in owners), "openai")

    async def tried(
        self,
        method: str,
        path: str,
        read: Callable[[Any], Any],
        named: str,
        body: Mapping[str, Any] | None = None,
        timeout: float = math.inf,
    ) -> Any:
        """Return what ``read`` makes of the answer to one request, within ``timeout`` seconds.

        Raises Trouble for a request that may be repeated, and Refused for one that may not.
        """
        answer = await self.sent(method, path, body, min(self.timeout, timeout))
        status = answer.status_code
        if status in BUSY or status >= 500:
            raise Trouble(
                f"status {status}",
                f"{self.address.shown} answers {status}: {self.words(answer)}",
                asked_pause(answer.headers.get("retry-after")),
            )
        if not 200 <= status < 300:
            raise self.refused(answer, named, path)
        try:
            return read(answer.json())
        except (ValueError, RecursionError) as error:
            reason = self.clean(str(error))
            raise Trouble("unreadable answer", f"{self.address.shown} gives an answer to {path} "
                          f"that cannot be read ({reason})") from None  # fmt: skip

    async def sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, limit: float
    ) -> httpx.Response:
        """Return the answer to one request, whatever its status, within ``limit`` seconds.

        Raises Trouble for a server that cannot be reached, says nothing, breaks off or garbles.
        """
        shown = self.address.shown
        try:
            # httpx's own limit is for each read: a byte now and then would hold it off for ever.
            async with asyncio.timeout(limit):
                return await self.http.request(
                    method,
                    self.address.path(path),
                    json=body,
                    timeout=httpx.Timeout(limit, connect=min(limit, CONNECT_TIMEOUT), pool=None),
                )
        except httpx.ConnectError as error:
            reason = self.clean(str(error) or type(error).__name__)
            raise Trouble("no connection", f"no answer from {shown} ({reason})") from None
        except (httpx.TimeoutException, TimeoutError):
            setting = " (endpoint.timeout)" if limit == self.timeout else ""
            raise Trouble("time-out", f"no answer from {shown} within {limit:g} s{setting}"
                          ) from None  # fmt: skip
        except httpx.DecodingError as error:  # not compressed as its header says
            reason = self.clean(str(error) or type(error).__name__)
            raise Trouble("unreadable answer", f"{shown} gives an answer to {path} that cannot be "
                          f"read ({reason})") from None  # fmt: skip
        except httpx.TransportError as error:
            reason = self.clean(str(error) or type(error).__name__)
            raise Trouble("broken connection", f"{shown} broke off ({reason})") from None

    def refused(self, answer: httpx.Response, named: str, path: str) -> Refused:
        """Return the error of a request that the server refuses, in the server's words."""
        status, advice = answer.status_code, ""
        if status in (401, 403):
            advice = f"; the key is that of the environment variable {self.key_name} "
            advice += "(endpoint.key_env)"
        elif status == 404:
            advice = "; is the model's name right, and does the address end with /v1?"
        elif status < 400:
            advice = "; give the address to which it leads"
        words = self.words(answer)
        shown = self.address.shown
        return Refused(status, f"{named}: {shown} refuses {path} ({status}): {words}{advice}")

    def words(self, answer: httpx.Response) -> str:
        """Return the reason in a server's answer, in one line of at most 300 characters."""
        return self.clean(words_in(answer.text)) or answer.reason_phrase or "no reason given"

    def clean(self, text: str) -> str:
        """Return a foreign text in one line of at most 300 characters, secrets starred out.

        Servers repeat refused keys.
        """
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return one_line(text)


class Refused(UserError):
    """A request that a server refuses, which would be refused again."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def owners_of(answer: Any) -> set[str]:
    """Return the owners in a list of models, which name the program that serves them."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ValueError("no list of models")
    return {str(row.get("owned_by")) for row in rows if isinstance(row, dict)}


def asked_pause(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for, given as such or as a date; else 0."""
    if not header:
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", header.strip()):
        return float(header)
    date = email.utils.parsedate_tz(header)
    try:
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0
    except (ValueError, OverflowError):  # a date of no calendar, as in the year 99999
        return 0.0
