"""From scored answers to a report: every metric with its interval, over all samples and per subset.

Every denominator is the number of samples, so that no missing answer makes a mean better.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vrft.boxes import IN_FRACTIONS
from vrft.evaluation import stats
from vrft.evaluation.scoring import score_answers
from vrft.task import Task
from vrft.types import A, Interval, Prediction, Prompt, Report, Sample, Scored


def summarize(
    task: Task[A],
    samples: Sequence[Sample[A]],
    predictions: Sequence[Prediction],
    name: str,
    *,
    repeats: int = 1,
    paper: Mapping[str, float] | None = None,
    prompts: Mapping[str, Prompt] | None = None,
) -> Report:
    """Score the predictions and report on them under the name of their benchmark.

    ``prompts`` are those of ``score_answers``. Raises UserError for a prediction that answers none
    of the samples.
    """
    return report_on(task, score_answers(task, samples, predictions, repeats, prompts), name, paper)


def report_on(
    task: Task[A],
    scored: Sequence[Scored[A]],
    name: str,
    paper: Mapping[str, float] | None = None,
) -> Report:
    """Report on scored answers: every metric with its interval, over all samples and per subset.

    A sample with several answers scores their mean, and is unreadable if none could be read.
    """
    groups = group_by_sample(scored)
    subsets: dict[str, list[list[Scored[A]]]] = {}
    for group in groups:
        if group[0].sample.subset:
            subsets.setdefault(group[0].sample.subset, []).append(group)
    return Report(
        benchmark=name,
        n=len(groups),
        unreadable=sum(all(answer.score.parsed is None for answer in group) for group in groups),
        metrics=metric_intervals(task, groups),
        subsets={subset: metric_intervals(task, subsets[subset]) for subset in sorted(subsets)},
        paper=paper or {},
        missing=sum(any(answer.missing for answer in group) for group in groups),
        cut=sum(answer.cut for answer in scored),
    )


def group_by_sample(scored: Sequence[Scored[A]]) -> list[list[Scored[A]]]:
    """Return the answers to each sample, in the order of the samples."""
    groups: dict[str, list[Scored[A]]] = {}
    for answer in scored:
        groups.setdefault(answer.sample.id, []).append(answer)
    return list(groups.values())


def metric_intervals(task: Task[A], groups: Sequence[Sequence[Scored[A]]]) -> dict[str, Interval]:
    """Return every metric of the samples with its interval, the task's primary one first.

    Behind the means follow ratios of sums, the metrics of several answers to a sample, and the
    task's aggregates.
    """
    score = groups[0][0].score
    names = [task.primary, *(name for name in score.metrics if name != task.primary)]
    return {
        **{name: stats.interval([sample_mean(group, name) for group in groups]) for name in names},
        **{name: stats.ratio(ratio_parts(groups, name)) for name in score.ratios},
        **repeat_intervals(groups, task.primary),
        **aggregate_intervals(task, groups),
    }


def sample_mean(group: Sequence[Scored[A]], metric: str) -> float:
    """Return the mean of a metric over the answers to one sample."""
    return sum(answer.score.metrics[metric] for answer in group) / len(group)


def ratio_parts(groups: Sequence[Sequence[Scored[A]]], ratio: str) -> list[tuple[float, float]]:
    """Return (numerator, denominator) of a ratio for every sample, summed over its answers."""
    parts = [[answer.score.ratios[ratio] for answer in group] for group in groups]
    return [(sum(over for over, _ in part), sum(under for _, under in part)) for part in parts]


def repeat_intervals(groups: Sequence[Sequence[Scored[A]]], primary: str) -> dict[str, Interval]:
    """Return the metrics that several answers to each sample allow, with their intervals."""
    values = repeat_values(groups, primary)
    return {name: stats.interval(by_sample) for name, by_sample in values.items()}


def repeat_values(groups: Sequence[Sequence[Scored[A]]], primary: str) -> dict[str, list[float]]:
    """Return the metrics of every sample that k > 1 answers to it allow, from the primary one.

    - avg@k is the mean, by the name that is usual for k answers.
    - pass@j is the expected best of j answers, for j = 2, 4, 8 ... and k; where answers are right
      or wrong it is the chance that one of j is right.
    - maj@k is the metric of the most frequent readable answer.
    """
    k = len(groups[0])
    if k == 1:
        return {}
    # One value per sample, not per answer: answers to one sample are not independent, and an
    # interval over all of them would be too narrow.
    answers = [[answer.score.metrics[primary] for answer in group] for group in groups]
    metrics = {f"avg@{k}": [sum(values) / k for values in answers]}
    for j in sorted({k, *(2**power for power in range(1, k.bit_length()))}):
        metrics[f"pass@{j}"] = [stats.pass_at(j, values) for values in answers]
    parsed = [[answer.score.parsed for answer in group] for group in groups]
    # As texts, because lists of numbers cannot be counted.
    votes = [[None if vote is None else str(vote) for vote in group] for group in parsed]
    metrics[f"maj@{k}"] = list(map(stats.majority, votes, answers))
    return metrics


def aggregate_intervals(
    task: Task[A], groups: Sequence[Sequence[Scored[A]]]
) -> dict[str, Interval]:
    """Return the task's aggregates with their intervals, cut to [0, 1]."""
    values, without = aggregates_and_folds(task, groups)
    intervals = {}
    for name, value in values.items():
        interval = stats.jackknife(value, without[name], len(groups))
        # max(NaN, 0.0) is NaN, max(0.0, NaN) is 0.0: an unknown end must stay unknown.
        low, high = max(interval.low, 0.0), min(interval.high, 1.0)
        intervals[name] = replace(interval, low=low, high=high)
    return intervals


def aggregates_and_folds(
    task: Task[A], groups: Sequence[Sequence[Scored[A]]], further: Collection[str] = ()
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the task's aggregates, and their values without each fold of the samples.

    ``further`` are names of aggregates that answers of another model to these samples have.
    """
    values = dict(task.aggregates([answer for group in groups for answer in group]))
    values |= {name: absent(name) for name in further if name not in values}
    # An aggregate such as mAP may take seconds: tasks without any are not asked ten times more.
    folds = [
        task.aggregates([answer for index in indices for answer in groups[index]])
        for indices in (stats.leave_out(len(groups)) if values else [])
    ]
    # Without a fold a class may have no sample left, and its metric no name.
    return values, {name: [fold.get(name, absent(name)) for fold in folds] for name in values}


def absent(name: str) -> float:
    """Return the value of an aggregate that some answers do not have: NaN, or 0 of a share.

    Answers in fractions are counted only where there are some.
    """
    return 0.0 if name == IN_FRACTIONS else math.nan
