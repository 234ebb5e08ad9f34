"""Two evaluations of the same samples: paired differences, and the samples that changed.

Differences are taken sample by sample. Two models find mostly the same samples hard, so that the
interval of the paired difference is narrower than the intervals of both means suggest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft.columns import counted
from vrft.errors import UserError
from vrft.evaluation import asked_alike, stats
from vrft.evaluation.results import Evaluation, about_boxes, exhibit, load_evaluation
from vrft.evaluation.summary import (
    absent,
    aggregates_and_folds,
    group_by_sample,
    ratio_parts,
    repeat_values,
    report_on,
    sample_mean,
)
from vrft.types import A, Change, Comparison, Interval, Pairing, Report, Scored
from vrft.viz import Exhibit


def compare(name: str, before: Path, after: Path) -> Comparison:
    """Compare the primary metric of the evaluations in two folders, as the row ``name``.

    Of different limits, the common samples are compared. Raises UserError if the two have asked
    different things; where their data lay makes no difference.
    """
    first, second = load_both(before, after)
    primary = first.task.primary
    difference = stats.paired_difference(
        sample_means(first, primary), sample_means(second, primary)
    )
    return Comparison(
        name, primary, first.report.metrics[primary], second.report.metrics[primary], difference
    )


def pair(before: Path, after: Path) -> Pairing:
    """Compare every metric of the evaluations in two folders, and list the samples that changed.

    Raises UserError as ``compare`` does.
    """
    loaded = load_evaluation(before), load_evaluation(after)
    first, second = on_common_samples(*loaded, f"{before} and {after}")
    counts = [evaluation.report.n for evaluation in loaded]
    notes = []
    if counts[0] != counts[1]:
        old_count, new_count = counts
        notes.append(
            f"compared on the {first.report.n} samples that both have, of {old_count} and "
            f"{new_count}"
        )
    notes += unanswered(before, first.report) + unanswered(after, second.report)
    primary = first.task.primary
    ids = [group[0].sample.id for group in group_by_sample(first.scored)]
    old, new = sample_means(first, primary), sample_means(second, primary)
    changes = [Change(*row) for row in zip(ids, old, new, strict=True) if row[1] != row[2]]
    changes.sort(key=lambda change: change.gain, reverse=True)
    return Pairing(
        first.report.benchmark, compare_metrics(first, second), tuple(changes), "; ".join(notes)
    )


def unanswered(folder: Path, report: Report) -> list[str]:
    """Return a note on the answers that an evaluation lacks, which count as wrong; [] for none."""
    if not report.missing:
        return []
    return [
        f"{folder} lacks answers to {report.missing} of {counted(report.n, 'sample')}, which count "
        "as wrong; if it was interrupted, the same `vrft eval` goes on with it"
    ]


def change_sections(before: Path, after: Path, count: int = 12) -> list[tuple[str, list[Exhibit]]]:
    """Return sections of a page with both answers on one picture, ``count`` samples in each.

    They hold random samples, those that gained most, and those that lost most. Raises UserError as
    ``compare`` does.
    """
    first, second = load_both(before, after)
    task, primary = first.task, first.task.primary
    # Both evaluations have the same samples and repeats, so that their answers lie side by side.
    answers = list(zip(first.scored, second.scored, strict=True))

    def gain(both: tuple[Scored[Any], Scored[Any]]) -> float:
        old, new = both
        return new.score.metrics[primary] - old.score.metrics[primary]

    boxed = about_boxes(first)

    def shown(pairs: Sequence[tuple[Scored[Any], Scored[Any]]]) -> list[Exhibit]:
        return [exhibit(task, {"before": old, "after": new}, boxed) for old, new in pairs]

    ranked = sorted(answers, key=gain, reverse=True)
    return [
        ("Random", shown(random.Random(0).sample(answers, min(count, len(answers))))),
        # Where few samples changed, the first ``count`` of the ranking include some that did not.
        ("Gained most", shown([both for both in ranked[:count] if gain(both) > 0])),
        ("Lost most", shown([both for both in ranked[::-1][:count] if gain(both) < 0])),
    ]


def load_both(before: Path, after: Path) -> tuple[Evaluation[Any], Evaluation[Any]]:
    """Load two evaluations, of both only the samples that the other has too.

    Raises UserError if they have asked different things.
    """
    return on_common_samples(
        load_evaluation(before), load_evaluation(after), f"{before} and {after}"
    )


def on_common_samples(
    first: Evaluation[A], second: Evaluation[A], both: str
) -> tuple[Evaluation[A], Evaluation[A]]:
    """Return two evaluations with the reports of those samples alone that are in either.

    Their limits may differ. Raises UserError, which calls them ``both``, if anything else does.
    """
    asked_alike.check(first, second, both)
    ids = [list(dict.fromkeys(answer.sample.id for answer in each.scored))
           for each in (first, second)]  # fmt: skip
    if ids[0] == ids[1]:
        return first, second
    others = set(ids[1])
    common = [id for id in ids[0] if id in others]
    if not common:
        raise UserError(f"{both} have no sample in common; compare two models on the same samples")
    return restricted(first, common), restricted(second, common)


def restricted(evaluation: Evaluation[A], ids: Sequence[str]) -> Evaluation[A]:
    """Return an evaluation of some of its samples in the order of ``ids``, with their report."""
    groups = {group[0].sample.id: group for group in group_by_sample(evaluation.scored)}
    scored = tuple(answer for id in ids for answer in groups[id])
    report = report_on(evaluation.task, scored, evaluation.report.benchmark)
    return replace(evaluation, scored=scored, report=report)


def compare_metrics(first: Evaluation[A], second: Evaluation[A]) -> tuple[Comparison, ...]:
    """Compare every metric of two evaluations of the same samples, those of one alone included.

    A metric that cannot be paired sample by sample, nor by the jackknife, has no interval.
    """
    differences = paired_differences(first, second)
    rows = []
    for metric in {**first.report.metrics, **second.report.metrics}:
        before, after = (
            evaluation.report.metrics.get(metric)
            or Interval(absent(metric), math.nan, math.nan, evaluation.report.n)
            for evaluation in (first, second)
        )
        unknown = Interval(after.mean - before.mean, math.nan, math.nan, before.n)
        difference = differences.get(metric, unknown)
        rows.append(Comparison(metric, metric, before, after, difference))
    return tuple(rows)


def paired_differences(first: Evaluation[A], second: Evaluation[A]) -> Mapping[str, Interval]:
    """Return the paired difference of every metric: means, ratios, and the task's aggregates."""
    old, new = group_by_sample(first.scored), group_by_sample(second.scored)
    primary, score = first.task.primary, first.scored[0].score
    before, after = repeat_values(old, primary), repeat_values(new, primary)
    for name in score.metrics:
        before[name], after[name] = sample_means(first, name), sample_means(second, name)
    means = {name: stats.paired_difference(before[name], after[name]) for name in before}
    ratios = {
        name: stats.ratio_difference(ratio_parts(old, name), ratio_parts(new, name))
        for name in score.ratios
    }
    return {**means, **ratios, **aggregate_differences(first, second)}


def sample_means(evaluation: Evaluation[Any], metric: str) -> list[float]:
    """Return a metric of every sample, in the order of the samples."""
    return [sample_mean(group, metric) for group in group_by_sample(evaluation.scored)]


def aggregate_differences(first: Evaluation[A], second: Evaluation[A]) -> dict[str, Interval]:
    """Return the paired differences of the task's aggregates, by the jackknife over samples."""
    groups = group_by_sample(first.scored), group_by_sample(second.scored)
    given = [set(evaluation.report.metrics) for evaluation in (first, second)]
    # A name that only one report has is that of an aggregate, as scores have all of theirs.
    old, old_folds = aggregates_and_folds(first.task, groups[0], given[1] - given[0])
    new, new_folds = aggregates_and_folds(second.task, groups[1], given[0] - given[1])
    differences = {}
    for name in old:
        # Both leave out the same samples in each fold, which is what pairs them.
        folds = [b - a for a, b in zip(old_folds[name], new_folds[name], strict=True)]
        differences[name] = stats.jackknife(new[name] - old[name], folds, first.report.n)
    return differences
