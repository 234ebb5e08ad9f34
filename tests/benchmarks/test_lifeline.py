"""benchmarks/lifeline.py: processes that end with the one that started them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import lane_program
from fakes.folders import FAKES

from benchmarks import lifeline
from benchmarks.lifeline import Lanes
from benchmarks.publishing import ROOT

LIMIT = 120.0
"""Seconds in which anything has happened that is waited for."""


def read(pipe: int) -> bytes:
    """Return what comes next from a pipe, b"" once nobody holds its other end."""
    ready, _, _ = select.select([pipe], [], [], LIMIT)
    assert ready, "nothing came, and somebody still holds the other end"
    return os.read(pipe, 4096)


def test_a_process_ends_when_its_starter_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *ending: ended.append(ending))
    ours, theirs = multiprocessing.Pipe()
    ours.close()  # as the system does when a process dies
    lifeline.end_with(theirs)
    assert ended == [(os.getpid(), signal.SIGTERM)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_lanes_end_with_the_program_that_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    pipe = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    # Until the lanes have opened it: without any writer a pipe reads as one that was left.
    writer = os.open(held, os.O_WRONLY)
    paths = os.pathsep.join(map(str, (ROOT, FAKES.parent)))
    program = subprocess.Popen(
        [sys.executable, lane_program.__file__, str(held)], env=os.environ | {"PYTHONPATH": paths}
    )
    lanes = b""
    try:
        while lanes.count(b"\n") < 2:
            lanes += read(pipe)
        os.close(writer)
        program.send_signal(number)
        assert program.wait(LIMIT) == -number
        assert read(pipe) == b""
    finally:
        program.kill()
        program.wait()
        for lane in map(int, lanes.split()):
            with suppress(ProcessLookupError):
                os.kill(lane, signal.SIGKILL)
        os.close(pipe)


def test_lanes_work_and_begin_as_they_are_told() -> None:
    with Lanes(1, gc.disable, fresh=True) as pool:
        # each task in a process of its own
        assert [pool.submit(gc.isenabled).result(LIMIT) for _ in range(2)] == [False, False]
