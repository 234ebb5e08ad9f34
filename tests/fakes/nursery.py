"""Children that train, one at a time, each forked from a process that has imported everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.folders import FAKES

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""A user and mount namespace of its own, in which a tmpfs can be mounted without any right."""

LIMIT = 120.0
"""Seconds in which every child has ended; one that has not is killed and is a failure."""


class Child:
    """A running command of ``vrft``."""

    def __init__(self, nursery: Nursery, pid: int, log: Path) -> None:
        self.nursery, self.pid, self.log = nursery, pid, log

    def wait(self) -> int:
        """Return the exit status, -9 after a SIGKILL."""
        return int(self.nursery.read()["status"])

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which must come before the child's end."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert state != "Z" and time.monotonic() < deadline, self.said()
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def said(self) -> str:
        """What the child has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Nursery:
    """The process that forks the children."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder, self.count = process, folder, 0

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the nursery has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start(self, *argv: str, **hooks: Any) -> Child:
        """Start a command of ``vrft``; ``hooks`` are those of fakes/killable.py."""
        self.count += 1
        log = self.folder / f"child-{self.count}.log"
        return Child(self, self.ask(argv=argv, log=str(log), **hooks)["pid"], log)

    def run(self, *argv: str, **hooks: Any) -> tuple[int, str]:
        """Run a command to its end; return its status and what it has printed."""
        child = self.start(*argv, **hooks)
        return child.wait(), child.said()

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command of the shell where the children run."""
        answer = self.ask(shell=command)
        return answer["status"], answer["said"]


@contextmanager
def opened(folder: Path) -> Iterator[Nursery]:
    """Open a nursery whose logs lie in a folder; all of its processes have ended afterwards."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    own = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    command: Sequence[str] = [sys.executable, str(FAKES / "killable.py")]
    with subprocess.Popen(
        [*(NAMESPACE if own else ()), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            nursery = Nursery(process, folder)
            assert "ready" in nursery.read()
            yield nursery
        finally:
            os.killpg(process.pid, signal.SIGKILL)
