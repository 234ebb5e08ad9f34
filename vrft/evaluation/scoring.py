"""From answers to a report, without a model.

Every denominator is the number of samples: an answer that is unreadable or missing counts, at the
worst value of every metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from vrft import mathverify
from vrft.boxes import THOUSANDTHS, Box
from vrft.errors import UserError
from vrft.evaluation import stats
from vrft.images import image_size
from vrft.rewards import score_of
from vrft.rewards.task_rewards import own_task
from vrft.task import Task
from vrft.types import (
    A,
    Completion,
    Interval,
    Prediction,
    Prompt,
    Report,
    Sample,
    Score,
    Scored,
    View,
)

Item = TypeVar("Item")

Written = Literal["thousandths", "pixels", "fractions"]
"""The way in which another tool writes boxes: in thousandths of each axis, in pixels of the upright
picture in its file, or as fractions of each axis."""

# --- answers to scores


def read_samples(task: Task[A], split: str, limit: int | None = None) -> Sequence[Sample[A]]:
    """Read the first ``limit`` samples of a split.

    Raises UserError for a split without samples, for an id that occurs twice, and as
    ``check_texts`` does.
    """
    samples = task.samples(split)[:limit]
    if not samples:
        raise UserError(f"split {split!r} has no samples")
    check_texts(samples, split)
    # Predictions are tied to samples by their ids alone.
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise UserError(f"split {split!r}: the id {sample.id!r} occurs twice; make ids unique")
        seen.add(sample.id)
    return samples


def check_texts(samples: Sequence[Sample[A]], split: str) -> None:
    """Raise UserError that counts the sample for an id, question or subset that is no text.

    A prediction names its sample by a text: an id of another type would find none of them again.
    """
    for number, sample in enumerate(samples):
        for name in ("id", "question", "subset"):
            value = getattr(sample, name)
            if not isinstance(value, str):
                raise UserError(
                    f"split {split!r}: sample {number} has the {name} {value!r:.100}, of type "
                    f"{type(value).__name__}; make it a text in the task's samples()"
                )


def score_answers(
    task: Task[A],
    samples: Sequence[Sample[A]],
    predictions: Sequence[Prediction],
    repeats: int = 1,
    prompts: Mapping[str, Prompt] | None = None,
    boxes: Written | None = None,
) -> tuple[Scored[A], ...]:
    """Score ``repeats`` answers to every sample, in the order of the samples.

    ``prompts``, by sample id, spares building those again that the samples were asked with;
    ``boxes`` says how answers without views write boxes. Raises UserError for a prediction that
    answers none of the samples, and for one whose boxes are written nobody knows how.
    """
    unused = {(prediction.sample_id, prediction.repeat): prediction for prediction in predictions}
    reader = reading(task, boxes)
    if boxes is not None and any(prediction.views for prediction in predictions):
        raise UserError(f"--boxes {boxes}: the lines of the file have views; leave --boxes out")
    boxed = boxes is None and any(task.boxes(sample) for sample in samples)
    answered: list[tuple[Sample[A], Prompt, Prediction, Completion, bool]] = []
    for sample in samples:
        prompt = task.prompt(sample) if prompts is None else prompts[sample.id]
        for repeat in range(repeats):
            answer = unused.pop((sample.id, repeat), None)
            if boxed and answer and prompt.images and not answer.views:
                raise UserError(
                    f"the answer to {sample.id!r} does not say how its boxes are written; give "
                    "--boxes thousandths, pixels (of the picture's file) or fractions to `vrft "
                    'eval --predictions`, or "views" in every line'
                )
            prediction = answer or Prediction(sample.id, "", repeat=repeat, finished=False)
            completion = completion_of(prompt, prediction, boxes)
            # The views are kept as well: aggregates such as mAP read boxes from the text again.
            prediction = replace(prediction, views=completion.views)
            answered.append((sample, prompt, prediction, completion, answer is None))
    for sample_id, repeat in unused:
        raise UserError(
            f"{len(unused)} of the predictions answer none of the samples, such as {sample_id!r} "
            f"(repeat {repeat}); score them on the split and limit they were made with"
        )
    # A user's task may not bear several threads, in which math-verify judges several at once.
    each = mathverify.each if own_task(task) else map_in_turn
    scores = each(lambda one: score_of(reader, one[0], one[3]), answered)
    return tuple(
        Scored(sample, prompt, prediction, score, missing=missing)
        for (sample, prompt, prediction, _, missing), score in zip(answered, scores, strict=True)
    )


def map_in_turn(function: Callable[[Item], Score], items: Sequence[Item]) -> list[Score]:
    """Return the function's results for some items, one after the other."""
    return [function(item) for item in items]


def reading(task: Task[A], boxes: Written | None) -> Task[A]:
    """Return the task that reads boxes which are written in this way.

    Raises UserError for fractions where the task has no setting to read them by.
    """
    if boxes is None:
        return task
    # Such a task reads the numbers that it asks for, and fractions only where it asks for them.
    if hasattr(task, "coordinates"):
        return replace(task, coordinates=boxes)  # type: ignore[type-var]
    if boxes == "fractions":
        raise UserError(
            f"--boxes fractions: {type(task).__name__} has no setting `coordinates` to read them "
            "by; write the boxes in thousandths"
        )
    return task


def completion_of(
    prompt: Prompt, prediction: Prediction, boxes: Written | None = None
) -> Completion:
    """Return the answer to a prompt as the task scores it.

    ``boxes`` says how a prediction without views writes boxes. A picture is opened only where its
    size is needed, which is for pixels.
    """
    views = prediction.views
    if not views and boxes == "pixels" and prediction.text:
        views = tuple(View(*image_size(image), "pixels") for image in prompt.images)
    elif not views:
        # Fractions are the same in every view.
        views = (THOUSANDTHS,) * len(prompt.images)
    return Completion(prediction.text, views, prediction.tokens)


def parsed_boxes(score: Score) -> tuple[Box, ...]:
    """Return the boxes that were read from an answer, of a task about boxes: four numbers each."""
    # Score.parsed is plain numbers, as it is written to JSON; a text or number holds no boxes.
    match score.parsed:
        case [*numbers] if len(numbers) % 4 == 0:
            return tuple(Box(*numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    return ()


# --- scores to a report


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
    """Return the metrics that k > 1 answers to each sample allow, from the primary metric.

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
    return {name: stats.interval(values) for name, values in metrics.items()}


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
    task: Task[A], groups: Sequence[Sequence[Scored[A]]]
) -> tuple[Mapping[str, float], Mapping[str, list[float]]]:
    """Return the task's aggregates, and their values without each fold of the samples."""
    values = task.aggregates([answer for group in groups for answer in group])
    # An aggregate such as mAP may take seconds: tasks without any are not asked ten times more.
    folds = [
        task.aggregates([answer for index in indices for answer in groups[index]])
        for indices in (stats.leave_out(len(groups)) if values else [])
    ]
    # Without a fold a class may have no sample left, and its metric no name.
    return values, {name: [fold.get(name, math.nan) for fold in folds] for name in values}
