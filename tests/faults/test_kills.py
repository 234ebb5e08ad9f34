"""A run that is killed thirty times, at any moment, ends as one that was left alone."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fakes import outcomes
from fakes.nursery import Nursery
from fakes.outcomes import Record

from vrft.runs import run_comparison
from vrft.runs.run_log import read_metrics
from vrft.training import checkpoint

Settings = Callable[..., list[str]]


CALLS = ("", "open", "fsync", "os.rename", "half a line")
"""Beginnings of the calls at which a run is killed; "" is any."""


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return len(read_metrics(path)) if path.exists() else 0


def is_beyond_its_checkpoint(run: Path) -> bool:
    """Whether a run has taken a step that no checkpoint has yet."""
    steps = [checkpoint.step_of(path) for path in checkpoint.complete(run)]
    return steps_logged(run) > max(steps, default=0)


@pytest.mark.parametrize(
    ("name", "kills", "steps", "more"),
    [
        ("gpg", 30, 40, ()),
        ("sft", 6, 10, ("algorithm=sft",)),
        ("ppo, LoRA", 4, 8, ("algorithm=ppo", "model.lora.r=2", "eval.split=val", "eval.limit=2",
                "train.eval_steps=1", "train.metric_for_best_model=different")),
    ],
    ids=["gpg", "sft", "ppo with LoRA and a best checkpoint"],
)  # fmt: skip
def test_a_run_killed_at_random_moments_ends_bit_identical(
    name: str,
    kills: int,
    steps: int,
    more: tuple[str, ...],
    nursery: Nursery,
    settings: Settings,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """Half of the kills come at a call that changes the disk, half at a random time."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    calls = tmp_path / "calls"
    begun = time.monotonic()
    status, said = nursery.run(*settings(whole, steps, *more), calls=str(calls), folder=str(whole))
    seconds = time.monotonic() - begun
    assert status == 0, said
    made = calls.read_text().splitlines()
    draw = random.Random(16 + kills)
    done, at = 0, []
    while done < kills:
        fresh = not (run / "metrics.jsonl").exists()
        argv = settings(run, steps, *more) if fresh else ["train", "--resume", str(run)]
        notes = tmp_path / f"calls-{done}"
        before = steps_logged(run)
        if done % 2:
            child = nursery.start(*argv)
            if draw.random() < 0.7:  # else while it starts
                child.until(partial(is_beyond_its_checkpoint, run))
            time.sleep(draw.uniform(0, 2 * seconds / steps))
            child.send(signal.SIGKILL)
            moment = f"{time.monotonic() - begun:.1f} s"
        else:
            call = draw.choice(CALLS)
            in_a_step = sum(name.startswith(call) for name in made) / steps
            at_call = draw.randint(1, max(round(2 * in_a_step), 1))
            hooks = {"calls": str(notes), "folder": str(run), "kill_call": call}
            child = nursery.start(*argv, kill_at=at_call, **hooks)
            moment = f"call {at_call}"
        status = child.wait()
        if not done % 2:
            moment += f", {notes.read_text().splitlines()[-1]}"
        assert status == -signal.SIGKILL, (moment, child.said())
        done += 1
        line = f"kill {done} at {moment}: steps {before} -> {steps_logged(run)}"
        at.append(moment)
        print(line)
        assert steps_logged(run) < steps, "the run was over too soon to be killed so often"
    status, said = nursery.run("train", "--resume", str(run))
    assert status == 0, said
    comparison = run_comparison.compare(whole, run)
    assert comparison.difference is None, comparison.difference
    assert [path.name for path in checkpoint.complete(run)] == [
        path.name for path in checkpoint.complete(whole)
    ]
    assert [*run.glob(".*")] == []  # nothing half written is left
    # So many draws have met every kind of call.
    assert kills < 30 or all(call in str(at) for call in CALLS)
    fault = f"{kills} SIGKILLs, at random calls to the disk and moments"
    outcomes.compared(record_property, fault, f"one device: {name}", whole, run)


def test_a_killed_run_goes_on_where_it_has_been_moved_to(
    nursery: Nursery, settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    whole, run, moved = (tmp_path / name for name in ("whole", "run", "elsewhere"))
    assert nursery.run(*settings(whole, 6))[0] == 0
    child = nursery.start(*settings(run, 6))
    child.until(lambda: steps_logged(run) >= 3)
    child.send(signal.SIGKILL)
    child.wait()
    run.rename(moved)
    status, said = nursery.run("train", "--resume", str(moved))
    assert status == 0, said
    assert run_comparison.compare(whole, moved).difference is None
    assert not run.exists()
    fault = "SIGKILL, and the folder moved"
    outcomes.compared(record_property, fault, "one device: gpg", whole, moved)
