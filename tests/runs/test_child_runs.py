"""Trainings in processes of their own are killed as a whole, and tell why they have failed.

A stand-in trains here, in milliseconds; tests/cli/test_verify_resume.py kills and resumes it.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from fakes.processes import wait_until

from vrft.errors import UserError
from vrft.runs import child_runs
from vrft.system.linux_processes import with_word


@pytest.mark.parametrize(
    ("processes", "config", "words"),
    [
        (1, None, []),
        (2, None, ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]),
        (
            2,
            Path("zero3.yaml"),
            ["-m", "accelerate.commands.launch", "--config_file=zero3.yaml", "--num_processes=2",
             "--main_process_port=0"],
        ),
        # a single process under DeepSpeed is a launch as well
        (
            1,
            Path("zero2.yaml"),
            ["-m", "accelerate.commands.launch", "--config_file=zero2.yaml", "--num_processes=1",
             "--main_process_port=0"],
        ),
    ],
)  # fmt: skip
def test_several_processes_are_launched_as_a_user_launches_them(
    processes: int, config: Path | None, words: list[str]
) -> None:
    assert child_runs.launcher(processes, config) == words


def test_every_process_of_a_run_is_killed_whatever_its_session(tmp_path: Path) -> None:
    """As torchrun's, each in a session of its own."""
    pids = tmp_path / "pids"
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    parent = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
        f"{child!r}], start_new_session=True, stdout=open({str(pids)!r}, 'w')); time.sleep(600)"
    )
    with child_runs.started(tmp_path / "log", [sys.executable, "-c", parent]) as (process, word):
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), 60)
        assert sorted(with_word(f"{child_runs.LAUNCH}={word}")) == sorted(
            [process.pid, int(pids.read_text())]
        )
    assert process.returncode == -signal.SIGKILL
    assert with_word(f"{child_runs.LAUNCH}={word}") == []


def test_the_first_error_of_a_launch_is_told_and_not_what_its_launcher_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "training 1/4\nvrft: error: step 2: the cause\nvrft: error: process 0 ends, as process 1 "
        "has ended\ntorch.distributed.elastic: FAILED\n====\n"
    )
    message = str(child_runs.failure(1, log))
    assert message == f"the run ended with status 1: step 2: the cause (see {log})"


def test_the_steps_of_a_run_are_those_whose_lines_are_complete(tmp_path: Path) -> None:
    assert child_runs.step_ends(tmp_path) == {}
    lines = [json.dumps({"step": step, "time": 10.0 + step}) for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "ti']))
    assert child_runs.step_ends(tmp_path) == {1: 11.0, 2: 12.0}


def test_a_run_that_always_ends_before_its_kill_is_an_error_after_some_attempts(
    tmp_path: Path,
) -> None:
    """The stand-in is told of a step that it does not have, and ends at once each time."""
    begun = tmp_path / "begun"
    script = (
        "import pathlib, sys; pathlib.Path(sys.argv[2]).mkdir(); "
        "file = open(sys.argv[1], 'a'); print('run', file=file)"
    )
    run = tmp_path / "run"
    command = [sys.executable, "-c", script, str(begun), str(run)]
    with pytest.raises(UserError, match="had ended when it was killed; give more --steps than 4"):
        child_runs.train_and_kill(command, run, 4, 2)
    assert begun.read_text().count("run") == child_runs.ATTEMPTS


def test_a_training_that_fails_is_told_by_its_status_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "print('vrft: error: no room'); raise SystemExit(2)"]
    with pytest.raises(UserError) as raised:
        child_runs.train(log, command)
    assert str(raised.value) == f"the run ended with status 2: no room (see {log})"
    child_runs.train(log, [sys.executable, "-c", ""])
