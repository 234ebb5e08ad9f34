"""A thread announces that it waits, for as long as it may."""

from __future__ import annotations

import threading

import pytest

from vrft.system.waiting import ANNOUNCED, announced, waiting


def test_a_wait_is_announced_within_its_block_alone() -> None:
    me = threading.get_ident()
    assert not announced(me)
    with waiting():
        with waiting():
            assert announced(me)
        assert announced(me)
    assert not announced(me) and me not in ANNOUNCED


def test_a_function_may_announce_that_it_waits_and_call_itself() -> None:
    @waiting()
    def seen(depth: int) -> list[bool]:
        inner = seen(depth - 1) if depth else []
        return [*inner, announced(threading.get_ident())]

    assert seen(2) == [True, True, True]
    assert not announced(threading.get_ident())


def test_an_error_ends_the_wait() -> None:
    with pytest.raises(KeyError), waiting():
        raise KeyError
    assert not announced(threading.get_ident())


def test_a_wait_is_that_of_one_thread() -> None:
    seen: list[bool] = []
    with waiting():
        other = threading.Thread(target=lambda: seen.append(announced(threading.get_ident())))
        other.start()
        other.join()
    assert seen == [False]
