"""Runs in two processes on this machine, as a user launches them."""

from __future__ import annotations

import os
import subprocess
import sys

from fakes.folders import FAKES, ROOT


def launch(
    engine: str, settings: list[str], seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """``vrft train`` in two processes, by torchrun or a configuration of accelerate."""
    launcher = ["torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    if engine != "torchrun":
        file = f"configs/accelerate/{engine}.yaml"
        launcher = ["accelerate.commands.launch", f"--config_file={file}", "--main_process_port=0"]
    path = os.pathsep.join([*sys.path, str(FAKES)])
    return subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "vrft", "train", *settings],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
