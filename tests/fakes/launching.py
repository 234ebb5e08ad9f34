"""Two processes over gloo that run several cases of ``several_runs.py``, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.folders import FAKES, ROOT


@dataclass(frozen=True)
class Launch:
    """What became of the cases of a launch of two processes."""

    folder: Path
    said: str

    def outcome(self, name: str) -> list[Any]:
        """The exit status and standard error of a case, of each process."""
        files = [self.folder / f"{name}-{rank}.json" for rank in range(2)]
        assert all(file.is_file() for file in files), self.said
        return [json.loads(file.read_text()) for file in files]

    def run(self, name: str) -> Path:
        """The folder of a case that has ended well."""
        assert [row["status"] for row in self.outcome(name)] == [0, 0], self.said
        return self.folder / name


def command(engine: str, cases: Path) -> list[str]:
    """The command that runs cases in two processes, by torchrun or a shipped configuration."""
    launcher = ["torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    if engine != "torchrun":
        file = f"configs/accelerate/{engine}.yaml"
        launcher = ["accelerate.commands.launch", f"--config_file={file}", "--main_process_port=0"]
    return [sys.executable, "-m", *launcher, str(FAKES / "several_runs.py"), str(cases)]


def environment() -> dict[str, str]:
    """The environment in which the processes find what this one does."""
    path = os.pathsep.join([*sys.path, str(FAKES)])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def launch(engine: str, folder: Path, cases: Sequence[Mapping[str, Any]]) -> Launch:
    """Run cases one after the other in two processes."""
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        command(engine, folder / "cases.json"),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return Launch(folder, done.stderr)
