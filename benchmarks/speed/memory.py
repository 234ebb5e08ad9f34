"""Peak memory of one step of one side, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.lifeline import Lanes
from benchmarks.publishing import markdown
from benchmarks.speed import shapes
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs

SIDES = ("theirs", "ours")


@dataclass(frozen=True)
class Memory:
    """Bytes that were held when the step began, and the most that were held during it."""

    before: int
    peak: int

    @property
    def step(self) -> int:
        """Return the bytes that the step itself took."""
        return self.peak - self.before


def measure_alone(side: str, setting: Setting, shape: Shape, device: str) -> Memory:
    """Return the memory of a step of one side, taken in a process of its own."""
    with Lanes(1) as pool:
        return pool.submit(measure, side, setting, shape, device).result()


def measure(side: str, setting: Setting, shape: Shape, device: str) -> Memory:
    """Take one step of a side and return its memory.

    The process must not have taken a step before: an allocator keeps what was given back to it.
    """
    torch.set_num_threads(1)
    shape = shape.reading(setting.pictures)
    questions, folder = Questions(setting, steps=1), shapes.written(shape, device)
    # TRL's activations of the published shapes do not fit onto a GPU.
    checkpointing = device == "cuda"
    if side == "ours":
        ours = Ours(questions, folder, device, checkpointing=checkpointing)
        before = held(device)
        ours.step()
    else:
        theirs = Theirs(questions, folder, device, checkpointing=checkpointing)
        before = held(device)
        theirs.train(lambda step: False)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else status("VmHWM")
    return Memory(before, peak)


def held(device: str) -> int:
    """Return the bytes held at present, and count the peak anew from here."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    # 5 resets the peak of the resident set (man 5 proc)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return status("VmRSS")


def status(name: str) -> int:
    """Return the bytes of an entry of Linux's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(kibibytes)


def section(sides: Mapping[str, Memory]) -> str:
    """Render the peak memory of both sides, "theirs" and "ours"; "" without any."""
    if not sides:
        return ""
    lines = [
        [side, *(f"{value / 2**20:,.0f}" for value in (held.before, held.peak, held.step))]
        for side, held in sides.items()
    ]
    table = markdown(["LISA, MiB", "before the step", "peak", "of the step"], lines)
    share = sides["ours"].step / sides["theirs"].step
    return f"{table}\n\nOurs takes {share:.0%} of TRL's."
