"""From answers to a report, without a model.

Every denominator is the number of samples: an answer that is unreadable or missing counts, at the
worst value of every metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.evaluation import stats
from vrft.images import image_size
from vrft.task import Task
from vrft.types import A, Completion, Interval, Prediction, Report, Sample, Score, Scored, View


def read_samples(task: Task[A], split: str, limit: int | None = None) -> Sequence[Sample[A]]:
    """The first ``limit`` samples of a split; UserError if there is none or an id occurs twice."""
    samples = task.samples(split)[:limit]
    if not samples:
        raise UserError(f"split {split!r} has no samples")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise UserError(f"split {split!r}: the id {sample.id!r} occurs twice; make ids unique")
        seen.add(sample.id)
    return samples


def score_answers(
    task: Task[A],
    samples: Sequence[Sample[A]],
    predictions: Sequence[Prediction],
    repeats: int = 1,
) -> tuple[Scored[A], ...]:
    """Every sample's ``repeats`` answers with their scores, in the order of the samples.

    Raises UserError for a prediction that answers none of them.
    """
    left = {(prediction.sample_id, prediction.repeat): prediction for prediction in predictions}
    graded = []
    for sample in samples:
        for repeat in range(repeats):
            answer = left.pop((sample.id, repeat), None)
            prediction = answer or Prediction(sample.id, "", repeat=repeat, finished=False)
            seen = completion(task, sample, prediction)
            prediction = replace(prediction, views=seen.views)
            graded.append(Scored(sample, prediction, task.score(sample, seen), answer is None))
    for sample_id, repeat in left:
        raise UserError(
            f"{len(left)} of the predictions answer none of the samples, such as {sample_id!r} "
            f"(repeat {repeat}); score them on the split and limit they were made with"
        )
    return tuple(graded)


def completion(task: Task[A], sample: Sample[A], prediction: Prediction) -> Completion:
    """What the task scores; without views the pictures count as seen whole, in thousandths."""
    views = prediction.views or tuple(
        View(*image_size(image)) for image in task.prompt(sample).images
    )
    return Completion(prediction.text, views, prediction.tokens)


def summarize(
    task: Task[A],
    samples: Sequence[Sample[A]],
    predictions: Sequence[Prediction],
    name: str,
    *,
    repeats: int = 1,
    paper: Mapping[str, float] | None = None,
) -> Report:
    """The report on the predictions under the name of their benchmark.

    Raises UserError for a prediction that answers none of the samples.
    """
    return tally(task, score_answers(task, samples, predictions, repeats), name, paper)


def tally(
    task: Task[A],
    graded: Sequence[Scored[A]],
    name: str,
    paper: Mapping[str, float] | None = None,
) -> Report:
    """The report on graded answers, the primary metric first.

    A sample with several answers scores their mean, and is unreadable if none could be read.
    """
    groups = by_sample(graded)
    subsets: dict[str, list[list[Scored[A]]]] = {}
    for group in groups:
        if group[0].sample.subset:
            subsets.setdefault(group[0].sample.subset, []).append(group)
    return Report(
        benchmark=name,
        n=len(groups),
        unreadable=sum(all(answer.score.parsed is None for answer in group) for group in groups),
        metrics=intervals(task, groups),
        subsets={subset: intervals(task, subsets[subset]) for subset in sorted(subsets)},
        paper=paper or {},
        missing=sum(any(answer.missing for answer in group) for group in groups),
    )


def by_sample(graded: Sequence[Scored[A]]) -> list[list[Scored[A]]]:
    """The answers to each sample, in the order of the samples."""
    groups: dict[str, list[Scored[A]]] = {}
    for answer in graded:
        groups.setdefault(answer.sample.id, []).append(answer)
    return list(groups.values())


def intervals(task: Task[A], groups: Sequence[Sequence[Scored[A]]]) -> dict[str, Interval]:
    """The mean of every metric over the samples, the primary one first; then the others.

    The others are ratios of sums, what several answers to each sample tell, and the task's
    aggregates.
    """
    others = (name for name in groups[0][0].score.metrics if name != task.primary)
    found = {
        name: stats.interval([mean(group, name) for group in groups])
        for name in (task.primary, *others)
    }
    return {
        **found,
        **{name: stats.ratio(sums(groups, name)) for name in groups[0][0].score.ratios},
        **repeated(groups, task.primary),
        **aggregated(task, groups),
    }


def aggregated(task: Task[A], groups: Sequence[Sequence[Scored[A]]]) -> dict[str, Interval]:
    """The task's aggregates with their intervals, within [0, 1]."""
    whole, without = aggregates(task, groups)
    found = {}
    for name, value in whole.items():
        known = stats.jackknife(value, without[name], len(groups))
        # in this order NaN stays NaN
        found[name] = replace(known, low=max(known.low, 0.0), high=min(known.high, 1.0))
    return found


def aggregates(
    task: Task[A], groups: Sequence[Sequence[Scored[A]]]
) -> tuple[Mapping[str, float], Mapping[str, list[float]]]:
    """The task's aggregates, and those without each part of the samples, for their intervals."""
    whole = task.aggregates([answer for group in groups for answer in group])
    parts = [
        task.aggregates([answer for index in kept for answer in groups[index]])
        for kept in (stats.leave_out(len(groups)) if whole else [])
    ]
    return whole, {name: [part.get(name, math.nan) for part in parts] for name in whole}


def repeated(groups: Sequence[Sequence[Scored[A]]], primary: str) -> dict[str, Interval]:
    """What k answers to each sample tell of its primary metric; nothing where k is 1.

    avg@k is the mean again, by its usual name; pass@j is the expected best of j answers, for
    j = 2, 4, 8 ... and k, which is the chance of a right one where answers are right or wrong; and
    maj@k is that of the most frequent readable answer. Intervals are over samples: answers to one
    sample are not independent.
    """
    k = len(groups[0])
    if k == 1:
        return {}
    rows = [[answer.score.metrics[primary] for answer in group] for group in groups]
    found = {f"avg@{k}": [sum(row) / k for row in rows]}
    for j in sorted({k, *(2**power for power in range(1, k.bit_length()))}):
        found[f"pass@{j}"] = [stats.pass_at(j, row) for row in rows]
    votes = [[vote(answer) for answer in group] for group in groups]
    found[f"maj@{k}"] = list(map(stats.majority, votes, rows))
    return {name: stats.interval(values) for name, values in found.items()}


def vote(answer: Scored[A]) -> str | None:
    """What was read of an answer, None where nothing could be."""
    return None if answer.score.parsed is None else str(answer.score.parsed)


def sums(groups: Sequence[Sequence[Scored[A]]], ratio: str) -> list[tuple[float, float]]:
    """The numerator and denominator of a ratio for every sample, over the answers to it."""
    parts = [[answer.score.ratios[ratio] for answer in group] for group in groups]
    return [(sum(over for over, _ in part), sum(under for _, under in part)) for part in parts]


def boxes_read(score: Score) -> tuple[Box, ...]:
    """The boxes that a task with boxes has read: four numbers each."""
    match score.parsed:
        case [*numbers] if len(numbers) % 4 == 0:
            return tuple(Box(*numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    return ()


def mean(group: Sequence[Scored[A]], metric: str) -> float:
    """The mean of a metric over the answers to one sample."""
    return sum(answer.score.metrics[metric] for answer in group) / len(group)
