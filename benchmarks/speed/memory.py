"""Peak memory of one step of one side, in a process of its own.

python -m benchmarks.speed.memory ours lisa cpu cpu 1
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchmarks.speed import lanes, shapes
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import SETTINGS, Setting
from benchmarks.speed.theirs import Theirs

SIDES = ("theirs", "ours")


@dataclass(frozen=True)
class Memory:
    """Bytes that were held when the step began, and the most that were held during it."""

    before: int
    peak: int

    @property
    def step(self) -> int:
        """What the step itself took."""
        return self.peak - self.before


def compare(pool: Executor, setting: Setting, shape: str, device: str) -> dict[str, Memory]:
    """The memory of one step of both sides."""
    found = {side: pool.submit(child, side, setting, shape, device) for side in SIDES}
    return {side: memory.result() for side, memory in found.items()}


def child(side: str, setting: Setting, shape: str, device: str) -> Memory:
    """One side in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.speed.memory", side, setting.name, shape, device,
            str(setting.prompts)]  # fmt: skip
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def main(side: str, name: str, shape: str, device: str, prompts: str) -> None:
    """What the child does; the last line it prints is its Memory."""
    lanes.settle()
    setting = replace(SETTINGS[name], prompts=int(prompts))
    questions = Questions(setting, steps=1)
    model = shapes.written(shapes.SHAPES[shape], device)
    # TRL's activations of the published shapes do not fit onto a GPU.
    checkpointing = device == "cuda"
    if side == "ours":
        ours = Ours(questions, model, device, checkpointing=checkpointing)
        before = held(device)
        ours.step()
    else:
        theirs = Theirs(questions, model, device, checkpointing=checkpointing)
        before = held(device)
        theirs.train(lambda step: False)
    print(json.dumps(asdict(Memory(before, peak(device)))))


def held(device: str) -> int:
    """Bytes held at present, from which the peak is counted anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return status("VmRSS")


def peak(device: str) -> int:
    """The most bytes that were held since."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else status("VmHWM")


def status(name: str) -> int:
    """Bytes by Linux's account; getrusage would tell the peak of the parent process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
