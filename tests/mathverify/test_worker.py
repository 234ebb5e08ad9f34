"""The processes that compare expressions: how many there are, and when they end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from vrft import mathverify
from vrft.mathverify import equivalent, rules, verdicts, worker
from vrft.mathverify.worker import Verdict, Worker


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """Close the workers: none outlives this file."""
    yield
    mathverify.close()


@pytest.fixture
def only() -> Worker:
    """Return the only worker, with no verdict remembered."""
    mathverify.close()
    verdicts.forget()
    assert equivalent("1", "1") is True
    (one,) = worker.idle
    return one


def test_a_worker_serves_many_requests_and_the_same_one_twice_is_asked_once(
    only: Worker,
) -> None:
    equivalent("1", "2")
    assert worker.idle == [only]
    only.close()
    assert equivalent("1", "1") is True  # remembered
    assert equivalent("1", "3") is False  # a new worker
    assert worker.idle != [only]


def test_threads_that_ask_at_once_get_their_own_verdicts() -> None:
    verdicts: dict[int, bool | None] = {}

    def ask(number: int) -> None:
        verdicts[number] = equivalent("4", f"{number}+{number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {0: False, 1: False, 2: True, 3: False}
    assert 1 <= len(worker.idle) <= 4


def test_closing_ends_the_processes(only: Worker) -> None:
    mathverify.close()
    assert worker.idle == []
    assert not only.alive


def run(code: str) -> list[str]:
    """Return the words that a fresh Python prints; it and all that it started must end in time."""
    code = (
        f"import os\nfrom vrft.mathverify import *\nfrom vrft.mathverify.worker import idle\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    # The worker holds its parent's error output open: `run` would wait for it for ever.
    assert run("print(equivalent('1', '1'), flush=True)\nos._exit(0)") == ["True"]


def test_a_forked_process_does_not_talk_to_its_parents_worker() -> None:
    fork = "child = os.fork()\nif child: os.wait()\nprint(len(idle))"
    assert run(f"equivalent('1', '1')\n{fork}") == ["0", "1"]


def test_asking_imports_no_sympy() -> None:
    assert run("equivalent('1', '1')\nimport sys\nprint('sympy' in sys.modules)") == ["False"]


def test_a_worker_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "__file__", os.devnull)
    with pytest.raises(RuntimeError, match="did not start"):
        Worker()


def test_a_verdict_tells_the_processor_time_that_it_took(only: Worker) -> None:
    same, seconds = only.compare(5.0, rule="boxed", gold="2", answer="1+1")
    assert same is True and 0 < seconds < 5
    # Killed at the limit, which the answer took; the gold text took next to nothing.
    same, seconds = only.compare(0.3, rule="boxed", gold="10", answer="9^{9^{9^{9}}}")
    assert same is False and 0.3 <= seconds < 0.6


def test_a_worker_that_stands_still_is_given_up(
    only: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CLOCK", 0.2)
    only.process.send_signal(signal.SIGSTOP)
    assert only.compare(5.0, rule="boxed", gold="2", answer="2") == Verdict(None, 5.0)
    assert not only.alive
