"""Servers that hang, die or are slow while they are waited for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path

import pytest
from fakes import vllm_server as fake
from fakes.attached import SAMPLING, attached, encode

from vrft.engines import waiting
from vrft.engines.client import Client, ServerFailure
from vrft.engines.waiting import Patience
from vrft.errors import UserError
from vrft.policy.policy import ModelPolicy


def test_a_server_that_hangs_ends_the_run(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path, timeout=2.0)
    server[1].hang.clear()
    with pytest.raises(UserError, match=r"it hangs: no token for 2 s \(rollout\.vllm\.timeout\)"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert not server[1].hang.is_set()  # no answer has come
    engine.close()


def test_an_answer_that_stops_halfway_is_given_up_also_where_the_connection_was_to_close() -> None:
    half = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def answer() -> None:
            # the first call is the request, and those behind it ask for signs of life
            with contextlib.ExitStack() as open_calls, contextlib.suppress(OSError):
                while True:
                    call = open_calls.enter_context(listener.accept()[0])
                    call.recv(4096)
                    call.sendall(half)

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        with pytest.raises(ServerFailure, match="hangs"):
            waiting.answers(client, [{}], Patience(1.0), lambda: None)
        listener.shutdown(socket.SHUT_RDWR)
        server.join(5)


def test_a_server_that_dies_while_weights_are_exchanged_is_noticed(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    """Its front waits for its open calls and answers none of them, for as long as they last."""
    engine = attached(model, server[0], tmp_path, timeout=60.0)
    answers = server[1]
    answers.hanging = ("/pause",)
    answers.hang.clear()
    answers.status["/health"] = 503
    with pytest.raises(UserError, match="the server failed: status 503 to /health"):
        engine.sync()
    assert not answers.hang.is_set()  # no answer has come
    engine.close()


def test_weights_may_take_longer_than_a_server_may_be_silent(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path, timeout=0.5, start_timeout=60.0)
    answers = server[1]
    answers.hanging = ("/collective_rpc",)
    answers.hang.clear()
    threading.Timer(2.0, answers.hang.set).start()  # large weights
    engine.sync()
    assert engine.sync_seconds > 2
    engine.close()


@pytest.mark.parametrize(
    ("hanging", "words"),
    [
        (["/collective_rpc"], r"to /collective_rpc within 2 s \(rollout\.vllm\.start_timeout\)"),
        (["/collective_rpc", "/health"], r"to /health within 0\.5 s \(rollout\.vllm\.timeout\)"),
    ],
)
def test_the_setting_whose_time_is_over_is_named(
    hanging: list[str],
    words: str,
    model: ModelPolicy,
    server: tuple[str, fake.Answers],
    tmp_path: Path,
) -> None:
    engine = attached(model, server[0], tmp_path, timeout=0.5, start_timeout=2.0)
    answers = server[1]
    answers.hanging = tuple(hanging)
    answers.hang.clear()
    with pytest.raises(UserError, match=words):
        engine.sync()
    engine.close()


# --- slow or hanging


@pytest.mark.parametrize(
    ("looks", "hangs"),
    [
        # the count that each look finds, a second after the one before
        ([1, 2, 3, 4, 5, 6], False),
        ([1, 1, 2, 2, 3, 3], False),
        ([1, 1, 1, 1, 1, 1], True),
        # a count that cannot be had is no sign of work
        ([1, None, 2, None, 3, None], False),
        ([1, None, None, None, None, None], True),
        # a server that was started again counts from 0
        ([9, 9, 0, 0, 0, 0], False),
    ],
)
def test_a_server_hangs_that_makes_nothing_for_longer_than_its_patience(
    looks: list[float | None], hangs: bool
) -> None:
    seconds = iter(range(100))
    patience = Patience(3.0, lambda: next(seconds))

    def look() -> None:
        for made in looks:
            patience.look(made)

    if hangs:
        with pytest.raises(ServerFailure, match="no token for 3 s"):
            look()
    else:
        look()


def test_an_answer_is_a_sign_of_work() -> None:
    clock = iter([0, 2, 9, 10])
    patience = Patience(3.0, lambda: next(clock))
    patience.look(None, answered=True)  # at 2
    with pytest.raises(ServerFailure):
        patience.look(None)  # at 9


class Slow:
    """A client whose server answers at the last of some looks, and makes a token until each."""

    def __init__(self, futures: Sequence[Future[str]], looks: int) -> None:
        self.futures, self.left, self.made = futures, looks, 0

    def tokens_made(self) -> float:
        """Return one token more than at the look before."""
        self.made, self.left = self.made + 1, self.left - 1
        if self.left == 0:
            for future in self.futures:
                future.set_result("an answer")
        return float(self.made)


def test_a_slow_server_that_makes_tokens_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK", 0.001)
    futures: list[Future[str]] = [Future(), Future()]
    client, hours, alive = Slow(futures, 20), count(0, 3600), []
    patience = Patience(3601.0, lambda: next(hours))
    waiting.watch(client, futures, patience, lambda: alive.append(True))  # type: ignore[arg-type]
    assert client.left == 0 and len(alive) == 20
    with pytest.raises(ServerFailure, match="its process"):
        waiting.watch(client, [Future()], patience, ended)  # type: ignore[arg-type]


def ended() -> None:
    raise ServerFailure("its process has ended")
