"""A damaged checkpoint is named, set aside, and the one before it is used: nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import outcomes
from fakes.nursery import Nursery
from fakes.outcomes import Record

from vrft.runs import run_comparison

Settings = Callable[..., list[str]]


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file, which keeps its size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("method", "name", "fault", "said"),
    [
        # weights, optimizer, tokenizer, critic, random states: each kind of damage
        ("gpg", "model.safetensors", flip, "model.safetensors has other bytes than were saved"),
        ("gpg", "tokenizer.json", Path.unlink, "tokenizer.json is missing"),
        ("ppo", "critic.safetensors", empty, "critic.safetensors has 0 bytes and not"),
        ("sft", "optimizer.pt", halve, "optimizer.pt has"),
        ("sft", "rng_state.pth", flip, "rng_state.pth has other bytes than were saved"),
        ("sft", "trainer_state.json", flip, "trainer_state.json has other bytes than were saved"),
    ],
)
def test_the_checkpoint_before_a_damaged_one_is_used(
    method: str,
    name: str,
    fault: Callable[[Path], None],
    said: str,
    nursery: Nursery,
    settings: Settings,
    tmp_path: Path,
    record_property: Record,
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert nursery.run(*settings(whole, 3, f"algorithm={method}"))[0] == 0
    shutil.copytree(whole, run)  # it keeps two checkpoints, 2 and 3
    shutil.rmtree(run / "final")
    fault(run / "checkpoint-3" / name)
    status, printed = nursery.run("train", "--resume", str(run))
    assert status == 0, printed
    (line,) = [line for line in printed.splitlines() if "passed over" in line]
    assert said in line and line.endswith("set aside as checkpoint-3.damaged")
    assert f"resuming {run} from step 2" in printed
    shutil.rmtree(run / "checkpoint-3.damaged")
    comparison = run_comparison.compare(whole, run)
    assert comparison.difference is None, comparison.difference
    done = {flip: "one bit of it turned", halve: "half of it", empty: "nothing of it"}
    damage = f"{name} of the newest checkpoint: {done.get(fault, 'missing')}"
    outcomes.compared(record_property, damage, f"one device: {method}", whole, run)
