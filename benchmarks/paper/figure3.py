"""Figure 3: loss, reward and completion length over the steps of training, GPG against GRPO.

    python -m benchmarks.paper.figure3 [--out runs/paper]

Takes the curves of the runs that ``table3`` left below ``--out``, keeps them in
results/figure3.json, and draws figure3.png and figure3.svg from what is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper import plots
from benchmarks.paper.arms import CLASSIFICATION
from benchmarks.paper.experiment import HERE, RESULTS
from benchmarks.paper.study import over_seeds
from vrft.errors import UserError
from vrft.evaluation.predictions import write_json
from vrft.training.run_log import read_metrics

ARMS = ("gpg", "grpo")

PANELS = {
    "loss": "loss",
    "reward": "mean reward",
    "completions/mean_length": "completion length (tokens)",
}

WINDOW = 5
"""Steps that a point of a curve is the mean of."""

Curves = dict[str, dict[str, list[list[float]]]]
"""Arm -> metric -> the values of every seed's run, step by step."""


def main(argv: Sequence[str] | None = None) -> int:
    """Collect what runs there are, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), help="folder of the runs")
    options = parser.parse_args(argv)
    kept = RESULTS / "figure3.json"
    found = collect(options.out / CLASSIFICATION.task)
    if all(found[arm]["loss"] for arm in ARMS):
        RESULTS.mkdir(exist_ok=True)
        write_json(kept, found)
    if not kept.is_file():
        raise UserError(f"no runs of {' and '.join(ARMS)} below {options.out}; run table3 first")
    print(*draw(json.loads(kept.read_text(encoding="utf-8")), HERE), sep="\n")
    return 0


def collect(folder: Path) -> Curves:
    """The curves of the finished runs below a folder."""
    curves: Curves = {arm: {metric: [] for metric in PANELS} for arm in ARMS}
    for arm in ARMS:
        for final in sorted(folder.glob(f"{arm}/seed-*/run/final")):
            rows = read_metrics(final.parent / "metrics.jsonl")
            for metric in PANELS:
                curves[arm][metric].append([round(row[metric], 5) for row in rows])
    return curves


def smooth(values: Sequence[float]) -> list[float]:
    """The mean of each value and those up to WINDOW - 1 before it."""
    windows = (values[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def draw(curves: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """A panel for each metric, with the mean over seeds and its 95 % interval; PNG and SVG."""
    drawn = plots.figure(12, 3.4)
    axes = drawn.subplots(1, len(PANELS))
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for arm in ARMS:
            columns = zip(*map(smooth, curves[arm][metric]), strict=False)
            points = [over_seeds(column) for column in columns]
            steps = range(1, len(points) + 1)
            (line,) = axis.plot(steps, [p.mean for p in points], label=arm)
            low, high = [p.low for p in points], [p.high for p in points]
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="step")
    axes[0].legend()
    return plots.save(drawn, folder, "figure3")


if __name__ == "__main__":
    sys.exit(main())
