"""The demo tasks: every task, trained with several seeds, against its untrained model."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.paper.trials import Result, Trial, by_arm
from benchmarks.publishing import markdown

NAME = "demo_tasks"

BENCHMARKS = {
    # its benchmark is named after what is asked, not after the data set whose form it has
    "lisa_grounding": "demo_grounding",
    **{
        task: f"demo_{task}"
        for task in ("spatial", "geoqa", "fewshot_classification", "detection", "counting", "math")
    },
}
"""The benchmark of each task's demo, by the task's name."""

SECTION = """## Every demo task: untrained against trained

Greedy answers to held-out questions, strict scores in percent, after GPG with the task's
`configs/demo/` configuration. The gain is paired by question, its interval from a bootstrap over
questions; "blanked" is the trained model on grey pictures. The untrained models are made to have a
bad habit (`vrft/demo/models/README.md`): this shows that training mends it on questions that it
has not seen, on easy data.

{table}

{verdict}
"""

HEADER = ("task", "metric", "n", "untrained", "seed", "trained", "gain", "95 %", "blanked", "min")


def trials(tasks: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
    """Return a trial for every task and seed; sums have no pictures that could be blanked."""
    return [
        Trial(task, f"demo/{task}", BENCHMARKS[task], seed, blanked=task != "math")
        for task in tasks
        for seed in seeds
    ]


def section(results: Sequence[Result]) -> str:
    """Render the section of RESULTS.md."""
    return SECTION.format(table=table(results), verdict=verdict(results, len(results)))


def table(results: Sequence[Result]) -> str:
    """Render a line for every trial, scores in percent."""
    lines = [
        (
            f"`{arm}`",
            result.metric,
            result.n,
            f"{100 * result.before:.1f}",
            result.seed,
            f"{100 * result.after:.1f}",
            f"{100 * result.gain:+.1f}",
            f"{100 * result.low:+.1f} to {100 * result.high:+.1f}",
            "" if result.blanked is None else f"{100 * result.blanked:.1f}",
            f"{result.seconds / 60:.1f}",
        )
        for arm, results_of_arm in by_arm(results).items()
        for result in results_of_arm
    ]
    return markdown(HEADER, lines)


def verdict(results: Sequence[Result], expected: int) -> str:
    """Say in one sentence how many gains are surely above zero, and how many trials are missing."""
    # sure of the direction: the interval leaves out zero and everything below it
    sure = sum(result.low > 0 for result in results)
    missing = f"; {expected - len(results)} not run yet" if len(results) < expected else ""
    return f"In {sure} of {len(results)} runs the whole interval lies above zero{missing}."
