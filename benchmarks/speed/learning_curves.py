"""The learning of both sides as it is published: a table, the mean ratio, and the curves."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.publishing import figure, markdown, over_seeds, save_figure
from benchmarks.speed.beds import BEDS, DEMO
from benchmarks.speed.learning import CLOCK, SHARE, Comparison
from benchmarks.speed.measurement import HERE, Measurement


def section(measurement: Measurement) -> str:
    """Render when both sides reached the goal, with each seed, and the picture of their curves."""
    if not measurement.learning:
        return ""
    bed = BEDS[measurement.bed or DEMO.name]
    header = ("seed", "TRL's seconds", "ours", f"TRL's {bed.measure} at the end",
              "ours at the end", "untrained", "goal", "TRL reaches it", "ours", "ratio", "clock",
              "commit")  # fmt: skip
    lines = []
    for comparison in measurement.learning:
        ends = comparison.theirs.points[-1], comparison.ours.points[-1]
        lines.append([
            comparison.ours.seed,
            *(f"{end.seconds:.0f}" for end in ends),
            *(f"{end.reward:.3f}" for end in ends),
            f"{comparison.ours.points[0].reward:.3f}",
            f"{comparison.goal:.3f}",
            *map(when_reached, comparison.seconds),
            f"{comparison.ratio:.1f}x" if comparison.ratio else "",
            comparison.clock,
            comparison.commit or measurement.commit,
        ])  # fmt: skip
    steps = measurement.learning[0].ours.points[-1].step
    explanation = (
        f"The goal is {SHARE:.0%} of what TRL gained by its end with the seed. Both sides "
        f"take {steps} steps of {bed.title} and are examined every {bed.every} steps. "
        f"{bed.note + ' ' if bed.note else ''}TRL's time over ours: {mean_ratio(measurement)}"
    )
    picture = f"![held-out {bed.measure} over time]({measurement.name}.svg)"
    return "\n\n".join([markdown(header, lines), explanation, picture])


def on_one_clock(measurement: Measurement) -> tuple[Comparison, ...]:
    """Return the comparisons whose seconds are of one clock: CLOCK, or an older one without it.

    Seconds of two clocks are no quantity that could be averaged, or drawn along one axis.
    """
    clocks = [comparison.clock for comparison in measurement.learning]
    clock = CLOCK if CLOCK in clocks else clocks[0]
    return tuple(c for c in measurement.learning if c.clock == clock)


def mean_ratio(measurement: Measurement) -> str:
    """Render the geometric mean of the ratios, its interval, and how many seeds have a ratio.

    It is of seeds on one clock; the clock, the commits and the seeds left out are told.
    """
    counted = on_one_clock(measurement)
    by_seed = [comparison.ratio for comparison in counted if comparison.ratio]
    count = f"{len(by_seed)} of {len(counted)} seeds"
    commits = dict.fromkeys(comparison.commit or measurement.commit for comparison in counted)
    where = f"in {counted[0].clock} time, commit {', '.join(commits)}"
    if left := len(measurement.learning) - len(counted):
        where += f"; {left} seeds on another clock left out"
    if len(by_seed) < 2:
        return f"{count} reached the goal on both sides, {where}."
    # by logarithms, so that twice as fast and half as fast cancel each other
    of_logs = over_seeds([math.log(value) for value in by_seed])
    mean, low, high = map(math.exp, (of_logs.mean, of_logs.low, of_logs.high))
    return f"geometric mean {mean:.1f} (95 % {low:.1f} to {high:.1f}; {count}), {where}."


def when_reached(seconds: float | None) -> str:
    """Render when a goal was reached."""
    return "never" if seconds is None else f"after {seconds:.0f} s"


def draw(measurement: Measurement, folder: Path = HERE) -> list[Path]:
    """Draw the curves of both sides with each seed on one clock."""
    drawing = figure(7, 3.2)
    axis = drawing.subplots()
    drawn = on_one_clock(measurement)
    for number, comparison in enumerate(drawn):
        sides = ((comparison.ours, "C0", "vrft"), (comparison.theirs, "C1", "TRL"))
        for curve, colour, label in sides:
            seconds = [point.seconds for point in curve.points]
            rewards = [point.reward for point in curve.points]
            # The legend names a side once, not once for each seed.
            axis.plot(seconds, rewards, colour, label=None if number else label)
    bed = BEDS[measurement.bed or DEMO.name]
    axis.set(
        xlabel=f"seconds of training ({drawn[0].clock} time)", ylabel=f"held-out {bed.measure}"
    )
    axis.legend(frameon=False)
    return save_figure(drawing, folder, measurement.name)
