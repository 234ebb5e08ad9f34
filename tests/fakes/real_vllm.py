"""A real vLLM server on the CPU, started by a command as a user would start it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fakes import processes
from fakes.folders import ROOT

BIN = ROOT / ".venv-vllm" / "bin"
"""The programs of the environment in which vLLM is installed."""


@contextmanager
def running(command: Sequence[str], folder: Path, **variables: str) -> Iterator[None]:
    """Run a command of vLLM's environment in a folder; the server is up within the block.

    ``variables`` are set in its environment as well. What it says is in the folder's vllm.log.
    """
    from vrft.engines.server import CPU_VARIABLES

    log = folder / "vllm.log"
    usual = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **CPU_VARIABLES, **usual, **variables},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # ended as a group: vLLM has processes of its own
        )
    try:
        processes.wait_until(
            lambda: process.poll() is not None or b"startup complete" in log.read_bytes(), 600
        )
        assert process.poll() is None, log.read_text()[-3000:]
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
