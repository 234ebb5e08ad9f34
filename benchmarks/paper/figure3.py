"""Figure 3: loss, reward and completion length over the steps of training, GPG against GRPO.

The curves are those of the runs that ``table3`` left on disk. They are kept in
results/figure3.json, from which figure3.png and figure3.svg are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper import trials
from benchmarks.paper.tables import CLASSIFICATION
from benchmarks.publishing import figure, over_seeds, save_figure
from vrft.errors import UserError
from vrft.evaluation.settings_file import write_json
from vrft.runs.run_log import read_metrics

NAME = "figure3"

ARMS = ("gpg", "grpo")

PANELS = {
    "loss": "loss",
    "reward": "mean reward",
    "completions/mean_length": "completion length (tokens)",
}
"""The metrics of a run's log that are drawn, and the title of each panel."""

WINDOW = 5
"""Steps over which a point of a curve is averaged."""

SECTION = """## Figure 3: training

The runs of `gpg` and `grpo` on photographs, from Table 3: means over seeds with 95 % intervals,
each point the mean of up to five steps. On-policy, GRPO's loss is near zero by construction.

![Figure 3](figure3.svg)
"""

Curves = Mapping[str, Mapping[str, list[list[float]]]]
"""The values of every seed's run, step by step: arm -> metric -> [seeds, steps]."""


def keep_curves(out: Path) -> None:
    """Read the finished runs below ``out`` and keep their curves, if there are runs of both arms.

    Raises UserError if there are not, and none were kept before.
    """
    curves = collect(out / CLASSIFICATION.task)
    if all(curves[arm]["loss"] for arm in ARMS):
        trials.RESULTS.mkdir(exist_ok=True)
        write_json(trials.RESULTS / f"{NAME}.json", curves)
    elif not read_curves():
        raise UserError(f"no runs of {' and '.join(ARMS)} below {out}; run table3 first")


def collect(folder: Path) -> Curves:
    """Read the curves of the finished runs below a folder."""
    curves: dict[str, dict[str, list[list[float]]]] = {
        arm: {metric: [] for metric in PANELS} for arm in ARMS
    }
    for arm in ARMS:
        # the final model is written last: a run without it was interrupted
        for final in sorted(folder.glob(f"{arm}/seed-*/run/final")):
            steps = read_metrics(final.parent / "metrics.jsonl")
            for metric in PANELS:
                # five digits: more than a picture shows, and a small file
                curves[arm][metric].append([round(step[metric], 5) for step in steps])
    return curves


def read_curves() -> Any:
    """Return the curves that are kept, or None."""
    path = trials.RESULTS / f"{NAME}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def smooth(values: Sequence[float]) -> list[float]:
    """Average each value with those up to WINDOW - 1 steps before it."""
    # the first steps have fewer before them, and are averaged over those
    windows = (values[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def draw(curves: Curves, folder: Path) -> list[Path]:
    """Draw a panel for each metric, the mean over seeds with its 95 % interval, as PNG and SVG."""
    drawing = figure(12, 3.4)
    axes = drawing.subplots(1, len(PANELS))
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for arm in ARMS:
            # a step is shown as far as every seed went
            by_step = zip(*map(smooth, curves[arm][metric]), strict=False)
            points = [over_seeds(values) for values in by_step]
            steps = range(1, len(points) + 1)
            (line,) = axis.plot(steps, [p.mean for p in points], label=arm)
            low, high = [p.low for p in points], [p.high for p in points]
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="step")
    axes[0].legend()
    return save_figure(drawing, folder, NAME)
