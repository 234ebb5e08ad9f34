"""A process that has imported all of a training, and forks a child for each command of ``vrft``.

A child begins in some milliseconds instead of many seconds, so that a test can kill dozens. As a
script it reads one JSON object a line, and answers with one: ``{"argv": [...], "log": FILE}`` tells
the child's process id, then its status when it has ended; ``{"shell": COMMAND}`` the status.

``kill_at`` lets the child kill itself at its n-th call that changes the disk below ``folder``, of
those whose names begin with ``kill_call``: before the call takes place, or in the middle of a line
of its records. Such calls are noted in ``calls``, a file.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
"""Events of Python's audit hooks that change names on the disk; ``os.replace`` is a rename."""

WRITING = os.O_WRONLY | os.O_RDWR


class DiskCounter:
    """The count of calls that change the disk below a folder, and the kill at one of them."""

    def __init__(self, folder: str, kill_at: int | None, kill_call: str, notes: int) -> None:
        self.folder, self.kill_at, self.kill_call = folder, kill_at, kill_call
        self.notes, self.count = notes, 0

    def due(self, call: str) -> bool:
        """Count a call, note it, and return whether it is the one to be killed at."""
        self.count += call.startswith(self.kill_call)
        os.write(self.notes, f"{call}\n".encode())
        return self.count == self.kill_at and call.startswith(self.kill_call)

    def meet(self, call: str) -> None:
        """Count a call and, if it is due, kill this process before it takes place."""
        if self.due(call):
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count by Python's audit events, by ``os.fsync``, and by the lines of a run's records."""
        from vrft.runs.run_log import RunLog

        fsync = os.fsync

        def synced(descriptor: int) -> None:
            self.meet("fsync")
            fsync(descriptor)

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                path, _, flags = arguments
                writes = isinstance(flags, int) and flags & WRITING
                if writes and str(path).startswith(self.folder):
                    self.meet(f"open {Path(str(path)).name}")
            elif event in CHANGING and str(arguments[0]).startswith(self.folder):
                self.meet(f"{event} {Path(str(arguments[0])).name}")

        metrics = RunLog.metrics

        def half(log: RunLog, step: int, values: Any) -> None:
            if self.due("half a line of metrics"):
                log.file.write(json.dumps({"step": step, **values})[:40])
                log.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            metrics(log, step, values)

        os.fsync = synced
        RunLog.metrics = half  # type: ignore[method-assign]
        sys.addaudithook(watch)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent has ended, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def child(request: dict[str, Any]) -> int:
    """Run a command of ``vrft`` in a forked child, and return its exit status."""
    import torch

    from vrft import cli

    die_with_parent()
    # Once, before a second thread: torch puts its pool right after a fork, and not twice at a time.
    torch.set_num_threads(1)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    if "calls" in request:
        notes = os.open(request["calls"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        kill_at, kill_call = request.get("kill_at"), request.get("kill_call", "")
        DiskCounter(request["folder"], kill_at, kill_call, notes).install()
    try:
        return cli.main(request["argv"])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1


def forked(action: Callable[[], int]) -> int:
    """Run an action in a forked child, which exits with the status that it returns."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        status = action()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def serve() -> None:
    """Answer requests until the input ends."""
    die_with_parent()
    import torch

    import vrft.cli.training
    import vrft.sft.fine_tune
    import vrft.training.train  # noqa: F401

    torch.set_num_threads(1)
    answer(ready=os.getpid())
    for line in sys.stdin:
        request = json.loads(line)
        if "shell" in request:
            done = subprocess.run(request["shell"], shell=True, capture_output=True, text=True)
            answer(status=done.returncode, said=done.stdout + done.stderr)
            continue
        process = forked(lambda request=request: child(request))  # type: ignore[misc]
        answer(pid=process)
        _, status = os.waitpid(process, 0)
        answer(status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    serve()
