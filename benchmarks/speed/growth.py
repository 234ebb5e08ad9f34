"""Costs that grow with users' work: seconds and memory of a step, beside those of the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.publishing import markdown
from benchmarks.speed import cost, limit, memory, shapes
from benchmarks.speed.contestant import Step
from benchmarks.speed.cost import Load
from benchmarks.speed.limit import Machine
from benchmarks.speed.memory import Memory
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs
from vrft.config.schema import LoraConfig

TRL_MOST = 2e12
"""Operations of a step of TRL's, by the model, above which it is not taken: 20 seconds or so."""

BASE = Setting("base", "256 image tokens", 95, 32, 16, 16, prompts=2)
ALONE = replace(BASE, prompts=1)
TEXT = replace(ALONE, pictures=0)

Axes = Mapping[str, Mapping[int, Setting]]

AXES: Axes = {
    "prompts of a step": {count: replace(BASE, prompts=count) for count in (2, 8, 32)},
    "image tokens of a picture": {
        rows * columns: replace(ALONE, rows=rows, columns=columns)
        for rows, columns in ((16, 32), (40, 50), (50, 80))
    },
    "words of a prompt": {count: replace(TEXT, words=count) for count in (100, 1000, 4000)},
    "completions of a prompt": {count: replace(ALONE, generations=count) for count in (8, 32, 64)},
    "pictures of a prompt": {count: replace(ALONE, pictures=count) for count in (1, 2)},
}
"""What grows -> how large it is -> the setting."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "all weights": {},
    "LoRA": {"lora": LoraConfig(r=16)},
    "vision tower frozen": {"freeze_vision_tower": True},
}
"""What learns -> settings of the model."""


@dataclass(frozen=True)
class Point:
    """A step that was measured: ``size`` is how large it is on its ``axis``, 0 for a variant.

    ``machine`` is how fast the machine was around it. TRL's are None where its step would take too
    long.
    """

    axis: str
    size: int
    setting: Setting
    shape: Shape
    prompt: int
    step: Step
    memory: Memory
    machine: Machine
    theirs: Step | None = None
    their_memory: Memory | None = None
    checkpointing: bool = field(default=False)

    @property
    def load(self) -> Load:
        """Return one of its groups as the cost model reads it."""
        setting = self.setting
        return Load(self.prompt, setting.picture_tokens, setting.pictures, setting.completion,
                    setting.generations)  # fmt: skip

    @property
    def least(self) -> float:
        """Return the least seconds of the step by the model, at the machine's speed."""
        parts = limit.parts(self.shape, self.load, self.setting.prompts, self.machine, 4)
        return sum(parts.values())

    @property
    def saved(self) -> float:
        """Return the bytes that a group's forward pass saves, by the model."""
        return cost.saved_bytes(self.shape, self.load)


def measure_all(pool: Executor, shape: Shape) -> Iterable[Point]:
    """Yield all points as they are measured; ``pool`` gives each a process of its own."""
    work: list[tuple[str, int, Setting, Mapping[str, Any]]] = [
        (axis, size, setting, {}) for axis, sizes in AXES.items() for size, setting in sizes.items()
    ]
    work += [(name, 0, BASE, model) for name, model in VARIANTS.items()]
    submitted = [pool.submit(measure, *item, shape) for item in work]
    their_steps = {
        pool.submit(measure_theirs, setting, shape): place
        for place, (_, size, setting, _) in enumerate(work)
        if size and affordable(setting, shape)
    }
    points = [future.result() for future in submitted]
    for future in as_completed(their_steps):
        place = their_steps[future]
        step, held = future.result()
        points[place] = replace(points[place], theirs=step, their_memory=held)
    return points


def affordable(setting: Setting, shape: Shape) -> bool:
    """Tell whether a step of TRL's is short enough to be taken."""
    load = Load(setting.words + setting.image_tokens, setting.picture_tokens, setting.pictures,
                setting.completion, setting.generations)  # fmt: skip
    whole = cost.theirs(shape, load, checkpointing=False).total
    return setting.prompts * whole <= TRL_MOST


def measure(
    axis: str, size: int, setting: Setting, model: Mapping[str, Any], shape: Shape
) -> Point:
    """Take two of our steps, the first for its memory and the second for its time."""
    shape = shape.reading(setting.pictures)
    questions = Questions(setting, steps=2)
    ours = Ours(questions, shapes.written(shape, "cpu"), "cpu", model=model)
    prompt = ours.policy.length(
        ours.policy.encode([questions.prompt(questions.samples("train")[0])])[0]
    )
    before = memory.held("cpu")
    ours.step()
    held = Memory(before, memory.status("VmHWM"))
    first = limit.probe("cpu")
    step = ours.step()
    last = limit.probe("cpu")
    machine = Machine((first.products + last.products) / 2, (first.copies + last.copies) / 2)
    return Point(axis, size, setting, shape, prompt, step, held, machine)


def measure_theirs(setting: Setting, shape: Shape) -> tuple[Step, Memory]:
    """Take two of TRL's steps, the first for its memory and the second for its time."""
    shape = shape.reading(setting.pictures)
    theirs = Theirs(Questions(setting, steps=2), shapes.written(shape, "cpu"), "cpu")
    steps: list[Step] = []
    held: list[Memory] = []
    before = memory.held("cpu")

    def after_step(step: Step) -> bool:
        steps.append(step)
        held.append(Memory(before, memory.status("VmHWM")))
        return len(steps) < 2

    theirs.train(after_step)
    return steps[1], held[0]


def exponent(points: Sequence[Point], values: Sequence[float]) -> float:
    """Return the power of an axis with which values grow from its first point to its last."""
    return math.log(values[-1] / values[0]) / math.log(points[-1].size / points[0].size)


def section(points: Sequence[Point]) -> str:
    """Render all points, and the slope of each axis beside the model's; "" without any."""
    if not points:
        return ""
    header = ("what grows", "size", "prompts x G", "tokens of a prompt", "ours s", "least s",
              "of the limit", "ours MiB", "saved by the model, MiB", "TRL s", "TRL MiB",
              "ratio")  # fmt: skip
    lines = [
        [
            point.axis,
            point.size or "",
            f"{point.setting.prompts} x {point.setting.generations}",
            point.prompt,
            f"{point.step.whole:.2f}",
            f"{point.least:.2f}" if point.size else "",
            f"{point.least / point.step.whole:.0%}" if point.size else "",
            f"{point.memory.step / 2**20:,.0f}",
            f"{point.saved / 2**20:,.0f}" if point.size else "",
            f"{point.theirs.whole:.2f}" if point.theirs else "",
            f"{point.their_memory.step / 2**20:,.0f}" if point.their_memory else "",
            f"{point.theirs.whole / point.step.whole:.1f}x" if point.theirs else "",
        ]
        for point in points
    ]
    slopes = []
    for axis in AXES:
        along = [point for point in points if point.axis == axis]
        if len(along) > 1:
            slopes.append([
                axis,
                f"{along[0].size} to {along[-1].size}",
                f"{exponent(along, [point.step.whole for point in along]):.2f}",
                f"{exponent(along, [point.least for point in along]):.2f}",
                f"{exponent(along, [max(point.memory.step, 1) for point in along]):.2f}",
                f"{exponent(along, [point.saved for point in along]):.2f}",
            ])  # fmt: skip
    slope_header = ("what grows", "from, to", "power of seconds", "by the model",
                    "power of memory", "by the model")  # fmt: skip
    explanation = (
        "One step of each, in a process of its own; memory is that of the step alone. Least "
        "seconds are those of necessary operations and bytes at the speeds measured around the "
        "step, and what is saved is about what a group's forward pass holds for its backward "
        f"pass. TRL's steps are taken where they have at most {TRL_MOST / 1e12:g} TFLOP."
    )
    return "\n\n".join([explanation, markdown(header, lines), markdown(slope_header, slopes)])
