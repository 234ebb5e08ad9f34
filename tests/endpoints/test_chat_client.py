"""The client of a chat server: what is tried again, what is refused, and in which words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from fakes.chat_server import Asked, ChatServer, Reply, completion, error, serving

from vrft.endpoints import chat_client
from vrft.endpoints.chat_client import ChatClient, asked_pause
from vrft.endpoints.chat_requests import ChatAnswer, read_answer
from vrft.endpoints.server_address import read_address
from vrft.errors import UserError

KEY = "sk-very-secret-0123456789"
BODY = {"model": "m", "messages": [{"role": "user", "content": "how many?"}]}


def replies(*made: Reply) -> Callable[[Asked], Reply]:
    """Return one reply after the other, the last of them for ever."""
    left = list(made)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


def ask(
    server: ChatServer, *, key: str = KEY, url: str = "", **options: Any
) -> tuple[ChatAnswer, list[float], ChatClient]:
    """Return the answer to one request, the pauses before it, and the client."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def asking() -> ChatAnswer:
        async with client:
            read = lambda answer: read_answer(answer, 1)  # noqa: E731
            made: ChatAnswer = await client.completion(BODY, read, "sample 'a'")
            return made

    address = read_address(url or server.url)
    client = ChatClient(address, key, "MY_KEY", sleep=sleep, **options)
    return asyncio.run(asking()), pauses, client


def refusal(server: ChatServer, **options: Any) -> str:
    """Return the one line with which a request ends."""
    with pytest.raises(UserError) as caught:
        ask(server, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert KEY not in text
    return text


def texts(answer: ChatAnswer) -> list[str]:
    return [choice.text for choice in answer.choices]


# --- what is tried again


def test_a_request_has_the_key_in_one_header_and_the_body_as_it_is() -> None:
    with serving(replies(completion("four"))) as server:
        answer, pauses, client = ask(server)
    (asked,) = server.asked
    assert texts(answer) == ["four"]
    assert (asked.path, asked.body) == ("/v1/chat/completions", BODY)
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert (pauses, client.tried_again) == ([], {})


def test_without_a_key_there_is_no_such_header() -> None:
    with serving(replies(completion("four"))) as server:
        ask(server, key="")
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (error(500, "oh"), "status 500"),
        (error(502, "bad gateway"), "status 502"),
        (error(529, "overloaded"), "status 529"),
        (error(408, "slow"), "status 408"),
        (error(429, "slow down"), "status 429"),
        (Reply("{half of it"), "unreadable answer"),
        (Reply("[]"), "unreadable answer"),
        (Reply('{"choices": []}'), "unreadable answer"),
        (Reply('{"choices": [{"message": "text"}]}'), "unreadable answer"),
        (Reply('{"error": {"message": "provider failed"}}'), "unreadable answer"),
        (Reply("[" * 100_000), "unreadable answer"),  # deeper than the parser goes
        (Reply("plain", headers={"Content-Encoding": "gzip"}), "unreadable answer"),
        (Reply(break_off=True), "broken connection"),
    ],
)
def test_a_busy_failing_or_babbling_server_is_asked_again(trouble: Reply, kind: str) -> None:
    with serving(replies(trouble, trouble, completion("four"))) as server:
        answer, pauses, client = ask(server)
    assert texts(answer) == ["four"]
    assert len(server.asked) == 3
    assert client.tried_again == {kind: 2}
    # Doubled with each try, of which chance takes up to half: 1 s, then 2 s.
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_pauses_are_doubled_up_to_a_minute_and_differ() -> None:
    with serving(replies(*[error(503, "no")] * 9, completion("four"))) as server:
        _, pauses, _ = ask(server, retries=9)
    expected = [min(2.0**n, 60.0) for n in range(9)]  # 1, 2, 4 ... 32, 60, 60, 60
    assert all(full / 2 <= pause <= full for pause, full in zip(pauses, expected, strict=True))
    assert pauses != expected  # requests that failed together do not come together again


@pytest.mark.parametrize("header", ["7", "7.0"])
def test_a_server_is_given_the_time_that_it_asks_for(header: str) -> None:
    busy = error(429, "slow down", Retry_After=header)
    with serving(replies(busy, completion("four"))) as server:
        answer, pauses, _ = ask(server)
    assert (texts(answer), pauses) == (["four"], [7.0])


def test_a_time_of_day_to_wait_for_is_read_and_nonsense_is_none() -> None:
    assert 25 < asked_pause(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert asked_pause(formatdate(time.time() - 30, usegmt=True)) == 0
    assert [asked_pause(text) for text in (None, "", "soon", "-5", "nan", "1e9")] == [0] * 6
    assert asked_pause("Mon, 01 Jan 99999 00:00:00 GMT") == 0


def test_a_server_that_asks_for_a_day_ends_the_asking() -> None:
    with serving(replies(error(429, "quota used up", Retry_After="86400"))) as server:
        text = refusal(server)
    assert "429: quota used up, and asks to wait 86400 s" in text
    assert "endpoint.longest_wait" in text


def test_a_hanging_server_is_given_up_after_its_time() -> None:
    with serving(replies(Reply(hang=True), completion("four"))) as server:
        answer, _, client = ask(server, timeout=2.0)
        assert (texts(answer), client.tried_again) == (["four"], {"time-out": 1})


def test_a_server_that_keeps_a_request_alive_is_given_up_after_its_time() -> None:
    with serving(replies(Reply(drip=True), completion("four"))) as server:
        answer, _, client = ask(server, timeout=0.5)
        server.released.set()
    assert (texts(answer), client.tried_again) == (["four"], {"time-out": 1})


def test_a_server_that_always_hangs_ends_the_asking_in_one_line() -> None:
    with serving(replies(Reply(hang=True))) as server:
        text = refusal(server, timeout=0.1, retries=1)
        server.released.set()
    assert text == (
        f"sample 'a': after 2 tries: no answer from {server.url} within 0.1 s (endpoint.timeout); "
        "run it again to go on"
    )


def test_a_server_that_is_gone_ends_the_asking_in_one_line() -> None:
    with serving(replies(completion("four"))) as server:
        pass
    assert f"after 3 tries: no answer from {server.url} (" in refusal(server, retries=2)


# --- what is refused


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(400, "max_tokens is\ntoo large"), "(400): max_tokens is too large"),
        (error(404, "no model m"), "(404): no model m; is the model's name right"),
        (error(401, f"wrong key {KEY}"), "(401): wrong key ***; the key is that of the environment "
                                         "variable MY_KEY (endpoint.key_env)"),
        (Reply("<h1>Forbidden</h1>", 403), "(403): <h1>Forbidden</h1>; the key is"),
        (Reply('{"detail": "no such field"}', 422), "(422): no such field"),
        (Reply('{"message": "nope"}', 422), "(422): nope"),
        (Reply("", 413), "(413): "),
        (Reply("", 307, {"Location": "http://elsewhere/v1"}), "give the address to which it leads"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_with_the_servers_words(reply: Reply, words: str) -> None:
    with serving(replies(reply)) as server:
        text = refusal(server)
    assert text.startswith(f"sample 'a': {server.url} refuses /chat/completions (")
    assert words in text
    assert len(server.asked) == 1  # it would be refused again


def test_too_few_answers_to_one_request_are_no_reason_to_ask_again() -> None:
    with serving(replies(completion("four", "five"))) as server:
        text = refusal(server)
    assert "makes 2 of 1 answers" in text
    assert len(server.asked) == 1


# --- who serves


def server_of(server: ChatServer) -> str:
    async def asking() -> str:
        async with ChatClient(read_address(server.url), KEY, "MY_KEY") as client:
            return await client.server()

    return asyncio.run(asking())


@pytest.mark.parametrize(
    ("models", "name"),
    [
        (Reply('{"data": [{"id": "m", "owned_by": "vllm"}]}'), "vllm"),
        (Reply('{"data": [{"id": "m", "owned_by": "sglang"}]}'), "sglang"),
        (Reply('{"data": [{"id": "m", "owned_by": "system"}]}'), "openai"),
        (Reply('{"data": 7}'), "openai"),
        (Reply("", 404), "openai"),
        (Reply("", 500), "openai"),
    ],
)
def test_the_list_of_models_says_who_serves(models: Reply, name: str) -> None:
    with serving(replies(completion(""))) as server:
        server.models = models
        assert server_of(server) == name


def test_a_refused_key_and_a_server_that_is_down_are_said_at_once() -> None:
    with serving(replies(completion(""))) as server:
        server.models = error(401, "who are you?")
        with pytest.raises(UserError, match="who are you"):
            server_of(server)
    with pytest.raises(UserError, match="is the server up"):
        server_of(server)


def test_a_server_that_hangs_at_once_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_client, "FIRST_TIMEOUT", 0.2)
    late = r"within 0\.2 s; is the server up"  # no setting has this limit
    broken = r"broke off \(.*\); is the server up"
    for silent, words in (
        (Reply(hang=True), late),
        (Reply(drip=True), late),
        (Reply(break_off=True), broken),
    ):
        with serving(replies(completion(""))) as server:
            server.models = silent
            with pytest.raises(UserError, match=words):
                server_of(server)


def test_a_password_of_the_address_is_used_and_never_said() -> None:
    with serving(replies(error(400, "pass4711 is wrong"))) as server:
        url = server.url.replace("//", "//me:pass4711@")
        text = refusal(server, key="", url=url)
    assert "pass4711" not in text
    assert server.asked[0].headers["Authorization"].startswith("Basic ")
