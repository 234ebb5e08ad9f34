"""A study: several arms on one task, each at its own best learning rate, with several seeds.

The learning rate of each arm is searched on the split "val" over a grid, with a seed that is not
used again. The tables show runs at the best rate, scored on held-out questions. Results are kept by
task, so that an arm of two tables is trained once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.paper import experiment
from benchmarks.paper.experiment import Resources
from benchmarks.paper.trials import Result, Trial, read_results
from vrft import config

SEARCH_SEED = 7


@dataclass(frozen=True)
class Arm:
    """A line of a table: a name, and settings laid over the task's demo configuration."""

    name: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper's table: the arm ``better`` scores above the arm ``worse``."""

    better: str
    worse: str


@dataclass(frozen=True)
class Plan:
    """How every arm of a task is trained and scored.

    Each takes ``steps`` steps at each rate of the ``grid``, whose factors multiply the learning
    rate of the task's demo configuration.
    """

    task: str
    benchmark: str
    steps: int
    grid: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)

    @property
    def config(self) -> str:
        """Return the name of the configuration that all arms extend."""
        return f"demo/{self.task}"

    @property
    def learning_rate(self) -> float:
        """Return the learning rate that the factors of the grid multiply."""
        return config.load(self.config).train.learning_rate

    @property
    def search(self) -> str:
        """Return the name under which the results of the search are kept."""
        return f"{self.task}_search"


@dataclass(frozen=True)
class Study:
    """The arms of a table on one task, and the paper's claims about them.

    ``name`` is also the file name of the picture; ``title`` and ``text`` open the section of
    RESULTS.md.
    """

    name: str
    plan: Plan
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    title: str
    text: str

    def select(self, results: Sequence[Result]) -> list[Result]:
        """Return the results of this study's arms, in the order of the arms."""
        return [result for arm in self.arms for result in results if result.arm == arm.name]


def run(study: Study, seeds: Sequence[int], resources: Resources) -> list[Result]:
    """Search the learning rates, then measure each arm with every seed, and return the results.

    Trials for which the budget has no time are left for the next call.
    """
    deadline = time.monotonic() + 60 * resources.budget
    # complete already, this returns at once; cut short, it leaves some arms without a rate
    experiment.measure(study.plan.search, search_trials(study), resources)
    # one seed after the other, so that a short budget gives every arm equally many
    trials = [trial for seed in seeds for trial in final_trials(study, seed)]
    left = (deadline - time.monotonic()) / 60
    return experiment.measure(study.plan.task, trials, replace(resources, budget=left))


def search_trials(study: Study) -> list[Trial]:
    """Return a trial for every arm and rate, scored on the split "val"."""
    return [
        Trial(
            search_arm(arm, factor),
            study.plan.config,
            study.plan.benchmark,
            SEARCH_SEED,
            settings(study.plan, arm, factor),
            asked=("split=val",),
        )
        for arm in study.arms
        for factor in study.plan.grid
    ]


def search_arm(arm: Arm, factor: float) -> str:
    """Return the name of an arm at one rate of the grid."""
    # part of a key of the JSON files: another spelling would search everything again
    return f"{arm.name} x{factor:g}"


def final_trials(study: Study, seed: int) -> list[Trial]:
    """Return a trial at the best rate for every arm whose search is complete."""
    best = best_rates(study, read_results(study.plan.search))
    return [
        Trial(
            arm.name,
            study.plan.config,
            study.plan.benchmark,
            seed,
            settings(study.plan, arm, best[arm.name]),
        )
        for arm in study.arms
        if arm.name in best
    ]


def settings(plan: Plan, arm: Arm, factor: float) -> tuple[str, ...]:
    """Return an arm's overrides of the demo configuration, with a multiple of its learning rate."""
    rate = plan.learning_rate * factor
    # the report reads the rate back from the last of them
    return (*arm.settings, f"train.max_steps={plan.steps}", f"train.learning_rate={rate:g}")


def best_rates(study: Study, searched: Mapping[str, Result]) -> dict[str, float]:
    """Return the best factor on "val" of every arm that was tried at all of the grid's rates."""
    best = {}
    for arm in study.arms:
        scores = {}
        for factor in study.plan.grid:
            key = f"{search_arm(arm, factor)}/seed-{SEARCH_SEED}"
            if key in searched:
                scores[factor] = searched[key].after
        if len(scores) == len(study.plan.grid):
            # of equal scores the smallest factor, as the grid ascends
            best[arm.name] = max(scores, key=scores.__getitem__)
    return best
