"""The operators on which a step of ours spends its time, by torch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.publishing import markdown
from benchmarks.speed import shapes
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape

ROLLOUT, UPDATE = "rollout", "update"
"""The parts of a step; the update is all that is no rollout."""

BETWEEN = "between operators (Python)"
"""What stands in the place of an operator's name for the time in which none was running."""

LEAST_SHARE = 0.01
"""The share of a step from which on an operator has a line of its own."""


@dataclass(frozen=True)
class Operator:
    """An operator of torch's in one part of a step: how often it ran, and its own seconds."""

    name: str
    part: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class Profile:
    """The operators of one step, the longest first; ``usual`` is a step without the profiler."""

    setting: Setting
    shape: Shape
    operators: tuple[Operator, ...]
    usual: float

    @property
    def seconds(self) -> float:
        """Return the seconds of the step that was profiled, in which each operator is recorded."""
        return sum(operator.seconds for operator in self.operators)


def measure(setting: Setting, shape: Shape) -> Profile:
    """Take three steps: one that warms up, one as usual, and one with the profiler."""
    shape = shape.reading(setting.pictures)
    ours = Ours(Questions(setting, steps=3), shapes.written(shape, "cpu"), "cpu")
    ours.step()
    usual = ours.step().whole
    sample = ours.policy.sample

    def marked(*args: Any, **kwargs: Any) -> Any:
        with record_function(ROLLOUT):
            return sample(*args, **kwargs)

    ours.policy.sample = marked  # type: ignore[method-assign]
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(UPDATE):
        ours.step()
    return Profile(setting, shape, summed(profiler.events() or []), usual)


def summed(events: Sequence[Any]) -> tuple[Operator, ...]:
    """Return the sums of a profiler's events by operator and part, the longest first.

    Two of the events are the parts themselves: their own time is that between operators.
    """
    spans = [event.time_range for event in events if event.name == ROLLOUT]
    calls: Counter[tuple[str, str]] = Counter()
    microseconds: Counter[tuple[str, str]] = Counter()
    for event in events:
        sampled = any(span.start <= event.time_range.start < span.end for span in spans)
        name = BETWEEN if event.name in (ROLLOUT, UPDATE) else event.name
        key = name, ROLLOUT if sampled else UPDATE
        calls[key] += 1
        microseconds[key] += event.self_cpu_time_total
    return tuple(
        Operator(name, part, calls[name, part], total / 1e6)
        for (name, part), total in microseconds.most_common()
    )


def section(profiles: Sequence[Profile]) -> str:
    """Render a line for every operator that takes a share worth reading; "" without profiles."""
    lines = []
    for found in profiles:
        shown = [op for op in found.operators if op.seconds >= LEAST_SHARE * found.seconds]
        lines += [
            line(found, op.part, f"`{op.name}`" if op.name != BETWEEN else op.name, [op])
            for op in shown
        ]
        rest = found.operators[len(shown) :]
        lines.append(line(found, "both", "all others", rest))
    if not lines:
        return ""
    steps = "; ".join(
        f"{found.setting.title}: {found.seconds:.2f} s with the profiler, {found.usual:.2f} s "
        "without"
        for found in profiles
    )
    explanation = (
        "Each operator's own time in one step, by torch's profiler, which lengthens small "
        f"operators most ({steps})."
    )
    header = ("setting", "part", "operator", "calls", "seconds", "share")
    return f"{explanation}\n\n{markdown(header, lines)}"


def line(found: Profile, part: str, name: str, operators: Sequence[Operator]) -> list[object]:
    """Return a line of the table for some operators together."""
    seconds = sum(op.seconds for op in operators)
    return [
        found.setting.title,
        part,
        name,
        f"{sum(op.calls for op in operators):,}",
        f"{seconds:.2f}",
        f"{seconds / found.seconds:.0%}",
    ]
