"""The pictures of RESULTS.md: the same rows give the same file, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.paper.experiment import Row, by_arm
from benchmarks.paper.study import Study, over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "vrft"
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG and return the paths."""
    png, svg = (folder / f"{name}.{kind}" for kind in ("png", "svg"))
    drawn.savefig(png, dpi=110, metadata={"Software": None})
    drawn.savefig(svg, metadata={"Date": None})
    return [png, svg]


def study(study: Study, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Every arm's held-out score: each seed, the mean, and its 95 % interval."""
    arms = list(by_arm(rows))
    drawn = figure(7, 1 + 0.32 * len(arms))
    axis = drawn.subplots()
    for height, (_, found) in enumerate(arms):
        scores = [100 * row.after for row in found]
        mean = over_seeds(scores)
        axis.plot(scores, [height] * len(scores), "o", color="0.75", markersize=4)
        if mean.n > 1:
            axis.plot([mean.low, mean.high], [height, height], color="C0", linewidth=2)
        axis.plot(mean.mean, height, "D", color="C0", markersize=5)
    axis.axvline(100 * rows[0].before, color="0.5", linestyle=":", label="untrained")
    axis.set_yticks(range(len(arms)), [name for name, _ in arms])
    axis.invert_yaxis()
    axis.set(xlabel=f"{rows[0].metric} on held-out questions (%)", title=study.title)
    drawn.legend(loc="outside lower right", frameon=False)
    return save(drawn, folder, study.name)
