"""The means that both reports share: where a number is from, Markdown tables, intervals, figures.

``benchmarks.paper`` and ``benchmarks.speed`` import this module; it imports neither.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from scipy import stats

from vrft.checks.environment import versions_and_devices
from vrft.types import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

SOURCES = (
    "vrft",
    "tasks",
    "configs",
    "benchmarks/*.py",
    "benchmarks/families/*.py",
    "benchmarks/replication/*.py",
)
"""Git pathspecs of the files on which a measured number depends.

The results and pictures below benchmarks/ are left out: a script that writes them would otherwise
mark its own next number as measured on a changed checkout.
"""


def commit() -> str:
    """Return the short hash of the commit, with "-dirty" where a file of SOURCES differs from it.

    Outside of a git checkout it is "unknown".
    """
    changed = git("status", "--porcelain", "--", *SOURCES)
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def git(*argv: str) -> str:
    """Return the output of a git command in the checkout; "" if git refuses it."""
    done = subprocess.run(["git", *argv], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of some packages, or other entries of ``vrft env``, by their names."""
    environment = versions_and_devices()
    # Its folder is of the machine that measured, and tells a reader nothing.
    environment["python"] = environment["python"].partition(" ")[0]
    return {name: environment[name] for name in names}


def markdown(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Render a table in Markdown; each cell is written as ``str`` writes it."""
    table = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in table)


def fill(page: Path, begin: str, end: str, text: str) -> Path:
    """Put text between the two marks of a written page, in the place of what stands there."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(before + begin + text + end + after, encoding="utf-8")
    return page


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean over seeds with Student's 95 % interval, which is NaN for one seed."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, ``width`` x ``height`` inches.

    The same drawing gives the same file, byte for byte, so that git shows only real changes.
    """
    # matplotlib is a dependency of the tests and notebooks only: whoever measures needs none
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    # the ids of clip paths and markers in an SVG are hashes with this salt, random by default
    rcParams["svg.hashsalt"] = "vrft"
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(drawing: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG, without date or version, and return both paths."""
    png, svg = (folder / f"{name}.{kind}" for kind in ("png", "svg"))
    drawing.savefig(png, dpi=110, metadata={"Software": None})
    drawing.savefig(svg, metadata={"Date": None})
    return [png, svg]
