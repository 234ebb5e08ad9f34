"""Two evaluations of the same samples: paired differences, and the samples that changed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import stats
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.results import Evaluation, answer, exhibit, load_evaluation
from vrft.evaluation.scoring import aggregates, by_sample, mean, sums
from vrft.evaluation.viz import BEFORE, Exhibit
from vrft.types import A, Change, Comparison, Interval, Pairing, Scored


def compare(name: str, before: Path, after: Path) -> Comparison:
    """The primary metric of two evaluations of one benchmark, and the difference sample by sample.

    Raises UserError if the two folders do not hold the same benchmark, limit and blanking.
    """
    first, second = load_both(before, after)
    return replace(compared(first, second, first.task.primary), name=name)


def pair(before: Path, after: Path) -> Pairing:
    """Every metric of two evaluations of one benchmark, and the samples that changed.

    Raises UserError as ``compare`` does.
    """
    first, second = load_both(before, after)
    primary = first.task.primary
    ids = [group[0].sample.id for group in by_sample(first.graded)]
    both = zip(ids, values(first, primary), values(second, primary), strict=True)
    changes = [Change(*one) for one in both if one[1] != one[2]]
    changes.sort(key=lambda change: change.gain, reverse=True)
    paired = paired_aggregates(first, second)
    metrics = [compared(first, second, name, paired.get(name)) for name in first.report.metrics]
    return Pairing(first.report.benchmark, tuple(metrics), tuple(changes))


def paired_aggregates(first: Evaluation[A], second: Evaluation[A]) -> dict[str, Interval]:
    """The differences of the task's aggregates."""
    n = first.report.n
    old, old_parts = aggregates(first.task, by_sample(first.graded))
    new, new_parts = aggregates(second.task, by_sample(second.graded))
    found = {}
    for name in old:
        parts = [b - a for a, b in zip(old_parts[name], new_parts[name], strict=True)]
        found[name] = stats.jackknife(new[name] - old[name], parts, n)
    return found


def compared(
    first: Evaluation[A], second: Evaluation[A], metric: str, difference: Interval | None = None
) -> Comparison:
    """One metric of two evaluations; ``difference`` is that of an aggregate.

    It has no interval where the metric is none of a sample's either, such as pass@k.
    """
    before, after = first.report.metrics[metric], second.report.metrics[metric]
    score = first.graded[0].score
    if metric in score.metrics:
        difference = stats.paired_difference(values(first, metric), values(second, metric))
    elif metric in score.ratios:
        old, new = (sums(by_sample(one.graded), metric) for one in (first, second))
        difference = stats.ratio_difference(old, new)
    unknown = Interval(after.mean - before.mean, math.nan, math.nan, before.n)
    return Comparison(metric, metric, before, after, difference or unknown)


def values(evaluation: Evaluation[Any], metric: str) -> list[float]:
    """A metric of every sample, in the order of the samples."""
    return [mean(group, metric) for group in by_sample(evaluation.graded)]


def load_both(before: Path, after: Path) -> tuple[Evaluation[Any], Evaluation[Any]]:
    """Two evaluations of the same samples; UserError if they are not."""
    first, second = load_evaluation(before), load_evaluation(after)
    old, new = asked(first), asked(second)
    for key in old:
        if old[key] != new[key]:
            raise UserError(
                f"{before} and {after} differ in {key}; compare two models on the same samples"
            )
    return first, second


def asked(evaluation: Evaluation[Any]) -> dict[str, Any]:
    """What an evaluation asked, by the names of its settings."""
    settings = evaluation.settings
    return {
        "benchmark": coercion.build(Benchmark, settings["benchmark"]),
        "limit": settings.get("limit"),
        "blank_images": settings.get("blank_images", False),
    }


def change_sections(before: Path, after: Path, count: int = 12) -> list[tuple[str, list[Exhibit]]]:
    """Samples with both answers on one picture: those that gained and lost most, and random ones.

    Raises UserError as ``compare`` does.
    """
    first, second = load_both(before, after)
    both = list(zip(first.graded, second.graded, strict=True))
    task, primary = first.task, first.task.primary

    def gain(two: tuple[Scored[Any], Scored[Any]]) -> float:
        return two[1].score.metrics[primary] - two[0].score.metrics[primary]

    def shown(pairs: Sequence[tuple[Scored[Any], Scored[Any]]]) -> list[Exhibit]:
        return [
            exhibit(
                task, old.sample, [answer(task, old, "before", BEFORE), answer(task, new, "after")]
            )
            for old, new in pairs
        ]

    order = sorted(both, key=gain, reverse=True)
    return [
        ("Random", shown(random.Random(0).sample(both, min(count, len(both))))),
        ("Gained most", shown([two for two in order[:count] if gain(two) > 0])),
        ("Lost most", shown([two for two in order[::-1][:count] if gain(two) < 0])),
    ]
