"""A process that does nothing is known by its looks, and nothing that is only slow is taken for it.

Threads that hang here, and a child process that works, are real; what they do between two looks is
waited for, and never timed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fakes.processes import wait_until

from vrft.processes import hangs
from vrft.processes.hangs import Look, Rest, Thread, at_rest
from vrft.system.waiting import waiting

CODE = at_rest.__code__
MAIN = Thread(1, "S", "9000 10 3", CODE, 12)
READER = Thread(2, "S", "500 0 1", CODE, 40)
BEFORE = Look((MAIN, READER), 7.0, 100.0)
AFTER = replace(BEFORE, time=105.0)


@pytest.mark.parametrize(
    ("now", "rests"),
    [
        (AFTER, True),
        # signs of life and logs: 40 ms in 5 s are less than a hundredth
        (replace(AFTER, seconds=7.04), True),
        # it has come to wait for a disk
        (replace(AFTER, threads=(replace(MAIN, state="D"), READER)), False),
        # it was woken for a moment, at the same instruction: a slow pipe, a poll
        (replace(AFTER, threads=(replace(MAIN, account="9001 10 4"), READER)), False),
        # another instruction
        (replace(AFTER, threads=(replace(MAIN, instruction=14), READER)), False),
        # the thread that reads ahead gets something from a slow disk
        (replace(AFTER, threads=(MAIN, replace(READER, account="501 0 2"))), False),
        # a thread has ended, another has begun
        (replace(AFTER, threads=(MAIN,)), False),
        (replace(AFTER, threads=(MAIN, READER, replace(READER, id=3))), False),
        # threads that are not Python's, or a child, compute: 60 ms in 5 s
        (replace(AFTER, seconds=7.06), False),
        # a launch that was stopped for an hour as a whole: one look
        (replace(AFTER, time=3700.0), True),
    ],
)
def test_a_process_is_at_rest_if_nothing_has_run_from_one_look_to_the_next(
    now: Look, rests: bool
) -> None:
    assert at_rest(BEFORE, now) == rests


def test_a_thread_that_waits_for_a_processor_is_not_at_rest() -> None:
    """On a machine with too much to do its account stands still, but it is runnable."""
    looks = [replace(look, threads=(replace(MAIN, state="R"),)) for look in (BEFORE, AFTER)]
    assert not at_rest(*looks)
    # What waits for a disk, as for a dead filesystem's, does not run.
    disk = [replace(look, threads=(replace(MAIN, state="D"),)) for look in (BEFORE, AFTER)]
    assert at_rest(*disk)


def test_where_the_system_tells_nothing_of_threads_nothing_is_at_rest() -> None:
    assert not at_rest(replace(BEFORE, threads=()), replace(AFTER, threads=()))


def scripted(looks: Sequence[Look], limit: float = 3.0, beat: float = 1.0) -> Rest:
    """A rest of this thread that sees one look after the other."""
    given = iter(looks)
    return Rest(threading.get_ident(), limit, beat, lambda _: next(given))


def still(count: int, seconds: float = 7.0) -> list[Look]:
    return [replace(BEFORE, seconds=seconds, time=float(n)) for n in range(count)]


def test_a_process_hangs_once_it_was_at_rest_at_as_many_looks_as_the_limit_has() -> None:
    rest = scripted(still(4))
    lines = [rest.line() for _ in range(4)]
    assert lines[:3] == [None, None, None]
    assert re.match(r"it has hung for 3 seconds in \S+\.py:\d+ \(\S+\)", str(lines[3]))
    assert str(lines[3]).endswith("or raise train.hang_timeout (0: no limit)")


def test_one_look_at_work_and_the_count_begins_anew() -> None:
    rest = scripted([*still(3), *still(3, seconds=9.0), *still(3, seconds=11.0)])
    assert [rest.line() for _ in range(9)] == [None] * 9


def test_an_announced_wait_may_take_its_time() -> None:
    rest = scripted(still(20))
    with waiting():
        assert [rest.line() for _ in range(12)] == [None] * 12
    assert [rest.line() is None for _ in range(3)] == [True, True, False]


def test_a_limit_of_zero_never_looks() -> None:
    assert [scripted([], limit=0.0).line() for _ in range(9)] == [None] * 9


@contextmanager
def held(wait: Callable[[threading.Event], object]) -> Iterator[tuple[int, threading.Event]]:
    """A thread that hangs in ``wait`` until its event is set, with its id."""
    event = threading.Event()
    thread = threading.Thread(target=wait, args=(event,), daemon=True)
    thread.start()
    try:
        assert thread.ident is not None
        yield thread.ident, event
    finally:
        event.set()
        thread.join()


def test_a_thread_in_a_lock_is_at_rest_until_it_goes_on() -> None:
    on, done = threading.Event(), threading.Event()

    def go_on(event: threading.Event) -> None:
        on.wait()
        done.set()
        event.wait()

    with held(go_on) as (thread, _):

        def rests() -> bool:
            before = hangs.look_at_process(thread)
            return at_rest(before, hangs.look_at_process(thread))

        wait_until(rests, 60)
        before = hangs.look_at_process(thread)
        on.set()
        assert done.wait(60)
        assert not at_rest(before, hangs.look_at_process(thread))


def test_the_line_names_the_code_of_the_toolkit_or_the_user_and_what_it_calls() -> None:
    """A reward of the user's, in a lock of Python's threading."""

    def reward(event: threading.Event) -> None:
        event.wait()

    with held(reward) as (thread, _):
        wait_until(lambda: "wait" in hangs.whereabouts(thread), 60)
        assert re.fullmatch(
            r"\S*test_hangs\.py:\d+ \(reward\), at \S*threading\.py:\d+ \(wait\)",
            hangs.whereabouts(thread),
        )


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/home/u/mine.py", True),
        (hangs.__file__, True),
        (threading.__file__, False),
        (pytest.__file__, False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_a_users_code_is_told_from_that_of_libraries(file: str, own: bool) -> None:
    assert hangs.is_own(file) == own


def test_the_place_of_a_thread_is_that_of_the_code_that_it_runs() -> None:
    assert re.search(r"hangs\.py:\d+ \(place_of\)$", hangs.place_of(threading.get_ident()))


def test_the_time_of_a_child_process_counts() -> None:
    """As where the run waits for a program that unpacks its data."""
    before = hangs.look_at_process(threading.get_ident())
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            # Twice of what is asked for: a difference of sums may round down.
            wait_until(lambda: hangs.seconds_of(child.pid) >= 0.2, 60)
            now = hangs.look_at_process(threading.get_ident())
        finally:
            child.kill()
    assert now.seconds - before.seconds >= 0.1
    assert hangs.seconds_of(child.pid) == 0.0  # it has ended
