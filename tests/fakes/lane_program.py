"""A program with two lanes, each of which holds a named pipe open for as long as it lives."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from benchmarks.lifeline import Lanes


def hold(path: Path) -> None:
    """Open the pipe, write this process's number into it, and wait for ever."""
    with path.open("w") as pipe:
        print(os.getpid(), file=pipe, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    with Lanes(2) as pool:
        for _ in range(2):
            pool.submit(hold, Path(sys.argv[1]))
