"""A signal saves and stops within the step; a second one stops at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import outcomes
from fakes.nursery import Nursery
from fakes.outcomes import Record

from vrft.runs import run_comparison, stop_signal
from vrft.runs.run_log import read_metrics
from vrft.training import checkpoint

Settings = Callable[..., list[str]]

SLOW = """
import time
from pathlib import Path


def slow(completions, trainer_state, **columns):
    if trainer_state.global_step > 0:  # not in the trial before the run, nor in its first step
        Path(__file__).with_name("begun").touch()
        time.sleep(60)
        Path(__file__).with_name("ended").touch()
    return [0.0 for _ in completions]
"""


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return len(read_metrics(path)) if path.exists() else 0


@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_every_signal_saves_and_the_run_goes_on_bit_for_bit(
    method: str,
    nursery: Nursery,
    settings: Settings,
    tmp_path: Path,
    record_property: Record,
) -> None:
    whole, run, more = tmp_path / "whole", tmp_path / "run", ("train.save_steps=0",
                                                              f"algorithm={method}")  # fmt: skip
    signals = stop_signal.STOPPING if method == "gpg" else stop_signal.STOPPING[:3]
    steps = 6 * len(signals)
    assert nursery.run(*settings(whole, steps, *more))[0] == 0
    argv = settings(run, steps, *more)
    for number in signals:
        newest = checkpoint.latest(run)
        done = 0 if newest is None else checkpoint.step_of(newest)
        child = nursery.start(*argv)
        child.until(lambda done=done: steps_logged(run) > done)  # type: ignore[misc]
        child.send(number)
        logged = steps_logged(run)
        assert child.wait() == 128 + number, child.said()
        # The step that it was in, and perhaps the one that began before the signal arrived.
        assert steps_logged(run) - logged <= 2
        assert f"go on with `vrft train --resume {run}`" in child.said()
        newest = checkpoint.latest(run)
        assert newest is not None and checkpoint.step_of(newest) == steps_logged(run)
        argv = ["train", "--resume", str(run)]
    status, said = nursery.run(*argv)
    assert status == 0, said
    for folder in (whole, run):  # the whole one has no checkpoints on its way
        for path in checkpoint.complete(folder)[:-1]:
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    comparison = run_comparison.compare(whole, run)
    assert comparison.difference is None, comparison.difference
    fault = f"{', '.join(number.name for number in signals)}, one after the other"
    outcomes.compared(record_property, fault, f"one device: {method}", whole, run)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (signal.SIGTERM, signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, signal.SIGINT, 130),
    ],
)
def test_a_second_signal_does_not_wait_for_the_step(
    first: signal.Signals,
    second: signal.Signals,
    status: int,
    nursery: Nursery,
    settings: Settings,
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    run = tmp_path / "run"
    child = nursery.start(*settings(run, 3), "--reward", f"{tmp_path / 'slow.py'}:slow")
    child.until((tmp_path / "begun").exists)
    child.send(first)
    child.until(lambda: "once more stops it at once" in child.said())
    time.sleep(1.1)  # sooner it would count as the first, passed on by a launcher
    child.send(second)
    assert child.wait() == status, child.said()
    assert not (tmp_path / "ended").exists(), "it has waited for the reward, which takes a minute"
    assert not (run / "final").exists() and "Traceback" not in child.said()
