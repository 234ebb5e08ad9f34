"""A task's rewards, computed by a program of its own: proof that the task can travel there.

The program is this file. A worker of multiprocessing would first import the main module of the
process that starts it, and so run a script without ``if __name__ == "__main__"`` a second time.

Task, sample and completion travel as a pickle, which is what must be shown to work, from our own
process to its own child; nothing that a file or a model says is ever unpickled. The rewards come
back as JSON.
"""

from __future__ import annotations

# Only the standard library up here: the worker may find vrft itself by no other way than the
# sys.path in its first message.
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrft.task import Task
    from vrft.types import A, Completion, Sample

SECONDS = 120.0
"""Time for the worker to start, import the task's module and compute the rewards."""


class WorkerError(Exception):
    """A worker that gave no rewards; the message says why in one line."""


def rewards_elsewhere(
    task: Task[A], sample: Sample[A], completion: Completion, seconds: float = SECONDS
) -> dict[str, float | None]:
    """Compute every reward of a completion in a process of its own, by the reward's name.

    Raises WorkerError if the task cannot be pickled or imported there, or if the worker ends, or
    is ended after ``seconds``, without rewards.
    """
    try:
        message = pickle.dumps(sys.path) + pickle.dumps((task, sample, completion))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise WorkerError(str(error)) from error
    # -P keeps this file's folder off sys.path, where its neighbours would hide other modules.
    command = [sys.executable, "-P", "-W", "ignore", __file__]
    # A file and not a pipe: programs that the task has started may hold a pipe open for longer
    # than the worker lives, and reading it would wait for them.
    with tempfile.TemporaryFile() as errors:
        try:
            worker = subprocess.run(
                command, input=message, stdout=subprocess.PIPE, stderr=errors, timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            raise WorkerError(f"no rewards within {seconds:g} seconds") from error
        errors.seek(0)
        complaint = errors.read().decode(errors="replace")
    if worker.returncode or not worker.stdout:
        raise WorkerError(cause(worker.returncode, complaint))
    rewards: dict[str, float | None] = json.loads(worker.stdout)
    return rewards


def cause(status: int, complaint: str) -> str:
    """Return in one line why a worker ended, by its exit status and its standard error."""
    if status < 0:  # the convention of subprocess for a signal
        return f"it was killed by {signal.Signals(-status).name}"
    lines = [line.strip() for line in complaint.split("\n") if line.strip()]
    last = lines[-1] if lines else ""
    if len(lines) > 1 and last.startswith("in reward "):
        # A note on the exception, as `vrft.rewards.values.noting` writes it, stands below it.
        last = f"{lines[-2]} ({last})"
    if "'__main__'" in last:
        # The worker has a main module of its own, and must not run the user's.
        last += "; define it in a module or task file, and not in the script that is run"
    return last or f"it ended with exit status {status}"


def serve() -> None:
    """Read sys.path and then (task, sample, completion) from standard input; write the rewards."""
    # Whatever a task prints goes to standard error: standard output carries the rewards alone.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path[:] = pickle.load(sys.stdin.buffer)
    # Here the module of the task is imported.
    task, sample, completion = pickle.load(sys.stdin.buffer)
    from vrft.rewards import rewards_of

    rewards: dict[str, Any] = rewards_of(task, sample, completion)
    with answer:
        answer.write(json.dumps(rewards).encode("ascii"))


if __name__ == "__main__":
    serve()
