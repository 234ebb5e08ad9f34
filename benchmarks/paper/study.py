"""A comparison of methods on one task: every arm with its own best learning rate, several seeds.

The learning rate of each arm is searched on the split "val" over the same GRID, with a seed that
is not used again; what the tables show are runs at that rate, scored on held-out questions. The
runs of a task are kept together, so that an arm that two tables show is trained once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from scipy import stats

from benchmarks.paper import experiment
from benchmarks.paper.experiment import Cell, Means, Row, by_arm, markdown
from vrft import config
from vrft.types import Interval

SEARCH_SEED = 7


@dataclass(frozen=True)
class Arm:
    """A line of a table: settings laid over the task's demo configuration."""

    name: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """What the paper's table says of two arms: the first is better than the second."""

    better: str
    worse: str


@dataclass(frozen=True)
class Plan:
    """How the arms of a task are trained and scored: for so many steps, at each rate of the grid.

    The grid has multiples of the demo configuration's learning rate.
    """

    task: str
    benchmark: str
    steps: int
    grid: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Study:
    """The arms of a table on one task, and what the paper says of them.

    ``name`` is that of its picture.
    """

    name: str
    plan: Plan
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...] = ()
    title: str = ""
    text: str = ""

    @property
    def kept(self) -> str:
        """The name under which the runs of the task are kept."""
        return self.plan.task

    @property
    def search(self) -> str:
        """The name under which the runs of the search are kept."""
        return f"{self.plan.task}_search"

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of this table, in the order of its arms."""
        return [row for arm in self.arms for row in rows if row.arm == arm.name]

    def section(self, rows: Sequence[Row]) -> str:
        """The part of RESULTS.md about the study."""
        rows = self.select(rows)
        if not rows:
            return ""
        tried = ", ".join(f"x{factor:g}" for factor in self.plan.grid)
        search = (
            f"{self.plan.steps} steps on `demo/{self.plan.task}`; learning rates tried on other "
            f"questions with another seed: {tried} of the demo's (*: at the edge of these)."
        )
        picture = f"![{self.title}]({self.name}.svg)"
        scores = table(self, rows)
        parts = [f"## {self.title}", self.text, search, scores, verdicts(self, rows), picture]
        return "\n\n".join(part for part in parts if part) + "\n"


def run(study: Study, seeds: Sequence[int], means: Means) -> list[Row]:
    """Search, then measure; what the budget does not allow is left for the next call."""
    deadline = time.monotonic() + 60 * means.budget
    experiment.measure(study.search, search_cells(study), means)
    cells = [cell for seed in seeds for cell in final_cells(study, seed)]
    left = (deadline - time.monotonic()) / 60
    return experiment.measure(study.kept, cells, replace(means, budget=left))


def search_cells(study: Study) -> list[Cell]:
    """A run for every arm and rate."""
    return [
        Cell(
            f"{arm.name} x{factor:g}",
            f"demo/{study.plan.task}",
            study.plan.benchmark,
            SEARCH_SEED,
            settings(study, arm, factor),
            asked=("split=val",),
        )
        for arm in study.arms
        for factor in study.plan.grid
    ]


def final_cells(study: Study, seed: int) -> list[Cell]:
    """A run for every arm whose search is complete, at the rate that did best."""
    best = best_rates(study, experiment.read(study.search))
    return [
        Cell(
            arm.name,
            f"demo/{study.plan.task}",
            study.plan.benchmark,
            seed,
            settings(study, arm, best[arm.name]),
        )
        for arm in study.arms
        if arm.name in best
    ]


def settings(study: Study, arm: Arm, factor: float) -> tuple[str, ...]:
    """What an arm lays over the demo configuration, at a multiple of its learning rate."""
    rate = config.load(f"demo/{study.plan.task}").train.learning_rate * factor
    return (*arm.settings, f"train.max_steps={study.plan.steps}", f"train.learning_rate={rate:g}")


def best_rates(study: Study, found: Mapping[str, Row]) -> dict[str, float]:
    """The factor of the grid with the best score on "val", of the arms that were tried at all."""
    best = {}
    for arm in study.arms:
        keys = {factor: f"{arm.name} x{factor:g}/seed-{SEARCH_SEED}" for factor in study.plan.grid}
        if all(key in found for key in keys.values()):
            best[arm.name] = max(study.plan.grid, key=lambda factor: found[keys[factor]].after)
    return best


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over seeds with Student's 95 % interval; none of fewer than two seeds."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


HEADER = ("arm", "learning rate", "seeds", "untrained", "trained", "95 %", "epochs", "kilotokens")


def table(study: Study, rows: Sequence[Row]) -> str:
    """A line for every arm: held-out scores in percent, mean over seeds."""
    demo = config.load(f"demo/{study.plan.task}").train.learning_rate
    lines = []
    for arm, found in by_arm(rows):
        after = over_seeds([row.after for row in found])
        factor = float(found[0].settings[-1].partition("=")[2]) / demo
        at_edge = not min(study.plan.grid) < factor < max(study.plan.grid)
        lines.append(
            (
                f"`{arm}`",
                f"x{factor:g}{'*' if at_edge else ''}",
                after.n,
                f"{100 * found[0].before:.1f}",
                f"{100 * after.mean:.1f}",
                f"{100 * after.low:.1f} to {100 * after.high:.1f}",
                f"{fmean(row.epochs for row in found):.2f}",
                f"{fmean(row.tokens for row in found) / 1000:.0f}",
            )
        )
    return markdown(HEADER, lines)


def verdicts(study: Study, rows: Sequence[Row]) -> str:
    """Each claim of the paper against the differences of runs with the same seed."""
    after = {(row.arm, row.seed): row.after for row in rows}
    lines = []
    for claim in study.claims:
        seeds = sorted(seed for arm, seed in after if arm == claim.better)
        both = [seed for seed in seeds if (claim.worse, seed) in after]
        if len(both) < 2:
            continue
        gap = over_seeds([after[claim.better, s] - after[claim.worse, s] for s in both])
        lines.append(
            f"- Paper: `{claim.better}` above `{claim.worse}`. Here {100 * gap.mean:+.1f} points "
            f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f}, {gap.n} seeds): {word(gap)}."
        )
    return "\n".join(lines)


def word(gap: Interval) -> str:
    """Whether a difference agrees with a claim that it is above zero."""
    if gap.low > 0:
        return "agrees"
    return "does not agree" if gap.high < 0 else "cannot tell"


def main(studies: Sequence[Study], description: str) -> int:
    """Run studies from the command line, one after the other within one budget, and report."""
    from benchmarks.paper import report

    parser = experiment.arguments(description)
    tasks = [study.plan.task for study in studies]
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks)
    parser.set_defaults(seeds=[42, 43, 44, 45, 46])
    options = parser.parse_args()
    means, complete = experiment.means(options), True
    deadline = time.monotonic() + 60 * means.budget
    for study in (study for study in studies if study.plan.task in options.tasks):
        left = (deadline - time.monotonic()) / 60
        rows = run(study, options.seeds, replace(means, budget=left))
        complete &= len(rows) == len(study.arms) * len(options.seeds)
        print(table(study, rows), verdicts(study, rows), sep="\n\n", end="\n\n")
    report.publish()
    return 0 if complete else 1
