"""A disk that takes no more ends a run in one line, and what was saved goes on bit for bit."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import outcomes
from fakes.nursery import Nursery
from fakes.outcomes import Record

from vrft.runs import run_comparison
from vrft.training import checkpoint

Settings = Callable[..., list[str]]


def one_line(said: str, reason: str) -> None:
    """Check that a command has ended with one line that names the reason, and no traceback."""
    assert "Traceback" not in said, said
    last = said.strip().splitlines()[-1]
    assert last.startswith("vrft: error: ") and f"cannot be written ({reason}" in last, said


def finish(nursery: Nursery, whole: Path, run: Path) -> None:
    """Go on with a run, and compare it with the one that met no fault."""
    status, said = nursery.run("train", "--resume", str(run))
    assert status == 0, said
    comparison = run_comparison.compare(whole, run)
    assert comparison.difference is None, comparison.difference


@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_limit_of_a_files_size_within_a_checkpoint(
    method: str,
    nursery: Nursery,
    settings: Settings,
    tmp_path: Path,
    record_property: Record,
) -> None:
    whole, run, own = tmp_path / "whole", tmp_path / "run", f"algorithm={method}"
    keep = "train.save_total_limit=null"
    assert nursery.run(*settings(whole, 12, own, keep))[0] == 0
    child = nursery.start(*settings(run, 12, own, keep))
    child.until(lambda: len(checkpoint.complete(run)) >= 2)
    # Far more than the records have, far less than the weights.
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    assert child.wait() == 2, child.said()
    one_line(child.said(), "File too large")
    assert not list(run.glob(".checkpoint-*")) and not (run / "final").exists()
    finish(nursery, whole, run)
    fault = "a file may not grow, within a checkpoint"
    outcomes.compared(record_property, fault, f"one device: {method}", whole, run)


def test_a_limit_of_a_files_size_within_the_records(
    nursery: Nursery, settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    whole, run, seldom = tmp_path / "whole", tmp_path / "run", "train.save_steps=0"
    assert nursery.run(*settings(whole, 12, seldom))[0] == 0
    child = nursery.start(*settings(run, 12, seldom))
    path = run / "metrics.jsonl"
    child.until(lambda: path.exists() and path.stat().st_size > 0)
    limit = path.stat().st_size + 10
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    assert child.wait() == 2, child.said()
    one_line(child.said(), "File too large")
    finish(nursery, whole, run)
    fault = "a file may not grow, within the records"
    outcomes.compared(record_property, fault, "one device: gpg", whole, run)


def test_a_full_disk_within_a_checkpoint_and_room_made_afterwards(
    nursery: Nursery, settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    whole, disk, run = tmp_path / "whole", tmp_path / "disk", tmp_path / "disk" / "run"
    keep = "train.save_total_limit=null"
    assert nursery.run(*settings(whole, 4, keep))[0] == 0
    size = sum(path.stat().st_size for path in (whole / "checkpoint-1").rglob("*"))
    # Room for two checkpoints and a half.
    mount = f"mkdir {disk} && mount -t tmpfs -o size={size * 5 // 2} none {disk}"
    status, said = nursery.shell(mount)
    if status != 0:
        pytest.skip(f"no small disk can be mounted here: {said.strip()}")
    try:
        status, said = nursery.run(*settings(run, 4, keep))
        assert status == 2, said
        one_line(said, "No space left on device")
        assert nursery.shell(f"mount -o remount,size={size * 9} {disk}")[0] == 0
        status, said = nursery.run("train", "--resume", str(run))
        assert status == 0 and "from step 2" in said, said
        assert nursery.shell(f"cp -r {run} {tmp_path / 'out'}")[0] == 0
    finally:
        nursery.shell(f"umount {disk}")
    comparison = run_comparison.compare(whole, tmp_path / "out")
    assert comparison.difference is None, comparison.difference
    fault = "the disk is full within a checkpoint"
    outcomes.compared(record_property, fault, "one device: gpg", whole, tmp_path / "out")
