"""A worker's process from the side of the run; what it does at a limit: test_worker_limits.py."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator

import pytest

from vrft.reward_workers.output_log import OutputLog
from vrft.reward_workers.worker_process import LimitReached, Limits, WorkerProcess


@pytest.fixture
def process() -> Iterator[WorkerProcess]:
    made = WorkerProcess(["fakes.trl_rewards"], None, Limits(), OutputLog())
    assert made.begin()["ready"] is True
    yield made
    made.ended()


def has_ended(number: int) -> bool:
    """Return whether there is no process of that id, which a short while is waited for."""
    for _ in range(500):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_process_that_is_closed_ends(process: WorkerProcess) -> None:
    assert process.alive
    process.close()
    assert not process.alive and has_ended(process.process.pid)
    process.close()  # a second time does no harm


def test_a_process_that_is_dropped_ends() -> None:
    made = WorkerProcess([], None, Limits(), OutputLog())
    number = made.process.pid
    del made
    gc.collect()
    assert has_ended(number)


def test_a_process_that_does_not_start_leaves_no_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(os.listdir("/dev/fd"))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        WorkerProcess([], None, Limits(), OutputLog())
    assert set(os.listdir("/dev/fd")) == before


def test_a_forked_process_leaves_the_worker_of_its_parent_alone(process: WorkerProcess) -> None:
    child = os.fork()
    if not child:
        process.ended()
        os._exit(0)
    os.waitpid(child, 0)
    assert not process.has_ended()


@pytest.mark.parametrize("platform", ["linux", "macos before Python 3.13"])
def test_a_process_that_has_ended_is_told_with_its_status(
    platform: str, process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    if platform != "linux":
        monkeypatch.delattr(os, "waitid")
    process.process.kill()
    with pytest.raises(LimitReached, match=r"^its process was killed by SIGKILL$"):
        process.ask({"seed": None})
    assert not process.alive


def test_a_worker_leads_a_session_of_its_own(process: WorkerProcess) -> None:
    assert os.getsid(process.process.pid) == process.process.pid != os.getsid(0)


def test_an_answer_has_its_time(process: WorkerProcess) -> None:
    with pytest.raises(
        LimitReached, match=r"^it took longer than 1e-06 seconds \(train.reward_timeout\)$"
    ):
        process.ask({"seed": None}, 1e-6)
    assert not process.alive
