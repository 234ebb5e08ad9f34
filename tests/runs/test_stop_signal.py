"""The signals that stop a run: after its step, at once when repeated, never what was ignored."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from vrft.runs import stop_signal
from vrft.runs.stop_signal import StopSignal


@pytest.mark.parametrize("number", stop_signal.STOPPING)
def test_a_signal_is_remembered_and_the_step_goes_on(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number is None
        signal.raise_signal(number)
        assert stop.number == number
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once_after_whatever_signal() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", [n for n in stop_signal.STOPPING if n != signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.9, 1.1, 60.0])
def test_a_second_signal_stops_at_once_unless_a_launcher_has_passed_on_the_first(
    number: signal.Signals, seconds: float
) -> None:
    clock = iter([100.0, 100.0 + seconds])
    at_once = False
    with suppress(SystemExit), StopSignal(lambda: next(clock)) as stop:
        signal.raise_signal(signal.SIGTERM)
        at_once = True
        signal.raise_signal(number)
        at_once = False
    assert at_once == (seconds >= 1)
    assert stop.number == signal.SIGTERM


@pytest.mark.parametrize("number", stop_signal.STOPPING)
def test_a_hang_up_stays_ignored_where_the_run_was_started_so(number: signal.Signals) -> None:
    """By nohup; Ctrl-C and SIGTERM save even where a shell's background job ignores them."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert (stop.number is None) == (number in (signal.SIGHUP, signal.SIGQUIT))


def test_a_thread_beside_the_main_one_goes_on_without_handlers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def step() -> tuple[int | None, list[Any]]:
        with StopSignal() as stop:
            return stop.number, [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(step).result() == (None, before)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capsys.readouterr().err.count("Ctrl-C and SIGTERM cannot be awaited") == 1
