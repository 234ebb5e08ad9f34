"""Trainings in processes of their own: one that is run to its end, one that is killed on its way.

They are started as a user, torchrun or accelerate starts them. A training that is killed is killed
with all its processes, whatever sessions they have made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrft.errors import UserError
from vrft.runs.run_log import read_metrics
from vrft.system.linux_processes import with_word

LAUNCH = "VRFT_LAUNCH"
"""The variable of the environment by which all processes of a run are known. A server of rollouts
is started without it: it must outlive a kill of its run for the moment in which it tidies up."""

ATTEMPTS = 3
"""Runs that are made at most to kill one of them before its end."""

ERROR = "vrft: error: "
"""The beginning of the line with which a run tells its error."""


def launcher(processes: int, config: Path | None) -> list[str]:
    """Return the arguments of Python that launch processes on this machine; none for one process.

    ``config`` is a file of accelerate's: with one, accelerate starts them, else torchrun.
    """
    if config is not None:
        words = ["-m", "accelerate.commands.launch", f"--config_file={config}"]
        return [*words, f"--num_processes={processes}", "--main_process_port=0"]
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]


def train(log: Path, command: Sequence[str]) -> None:
    """Run a training to its end in processes of its own; UserError if it does not succeed."""
    with started(log, command) as (process, _):
        status = process.wait()
    if status != 0:
        raise failure(status, log)


def train_and_kill(command: Sequence[str], run: Path, steps: int, at: int) -> int:
    """Train into the folder ``run`` by a command, kill it after a checkpoint, and return the step.

    The checkpoint is that of step ``at`` of ``steps``; the kill comes in a step behind it. A run
    that has ended before its kill is made again; raises UserError if all of ATTEMPTS have.
    """
    for _ in range(ATTEMPTS):
        killed = killed_step(command, run, steps, at)
        if killed is not None:
            return killed
        shutil.rmtree(run)
    raise UserError(f"the run had ended when it was killed; give more --steps than {steps}")


def killed_step(command: Sequence[str], run: Path, steps: int, at: int) -> int | None:
    """Train and kill as ``train_and_kill`` does; None for a run that has ended before the kill."""
    log = run.with_name(f"{run.name}-1.log")
    # One step later, which leaves records that a resumed run must take back; but before a further
    # checkpoint, from which it would go on.
    until = at + 1 if at > 1 and at + 1 < steps else at
    with started(log, command) as (process, word):
        while not ((run / f"checkpoint-{at}").is_dir() and until in step_ends(run)):
            if process.poll() == 0:
                return None
            if process.poll() is not None:
                raise failure(process.returncode, log)
            time.sleep(0.01)
        last, *before = reversed(step_ends(run).values())
        time.sleep((last - before[0]) / 2 if before else 0)  # into the step that comes
        kill_all(process, word)
    if process.returncode != -signal.SIGKILL or (run / "final").exists():
        return None
    return min(max(step_ends(run)) + 1, steps)  # the last has been logged before it is saved


@contextlib.contextmanager
def started(log: Path, command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a training with what it prints in a file; all its processes have ended afterwards.

    Yields the process and the word in the environment of all that it starts.
    """
    word = uuid.uuid4().hex
    environment = os.environ | {LAUNCH: word}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    try:
        yield process, word
    finally:
        kill_all(process, word)


def kill_all(process: subprocess.Popen[bytes], word: str) -> None:
    """Kill a training with all processes in whose environment is its word, and wait for their end.

    The launcher first, which would else tell the others of the first that is gone.
    """
    process.kill()
    while strays := with_word(f"{LAUNCH}={word}"):
        for stray in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)
        time.sleep(0.01)
    process.wait()


def failure(status: int, log: Path) -> UserError:
    """Return the error for a run that did not succeed, with its first error or its last line.

    Behind the error, a launcher prints what it has seen of its processes.
    """
    lines = log.read_text(encoding="utf-8", errors="backslashreplace").strip().split("\n")
    errors = [line for line in lines if line.startswith(ERROR)]
    line = next(iter(errors), lines[-1]).removeprefix(ERROR)
    return UserError(f"the run ended with status {status}: {line} (see {log})")


def step_ends(run: Path) -> dict[int, float]:
    """Return the time of each step that a run has logged, in seconds since 1970."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return {}
    return {row["step"]: row["time"] for row in read_metrics(path)}
