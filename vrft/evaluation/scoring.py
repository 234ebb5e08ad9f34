"""From samples and answers to scores, without a model.

Every sample has its scores: an answer that is unreadable or missing counts, at the worst value of
every metric.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from PIL import Image

from vrft import mathverify
from vrft.boxes import THOUSANDTHS, Box
from vrft.columns import counted
from vrft.errors import UserError
from vrft.images import image_size
from vrft.rewards import score_of
from vrft.rewards.metric_names import check_primary, check_same
from vrft.rewards.rewarded_task import own_task
from vrft.task import Task, samples_of
from vrft.types import A, Completion, Prediction, Prompt, Sample, Score, Scored, View

Item = TypeVar("Item")

Written = Literal["thousandths", "pixels", "fractions"]
"""The way in which another tool writes boxes: in thousandths of each axis, in pixels of the upright
picture in its file, or as fractions of each axis."""


def read_samples(task: Task[A], split: str, limit: int | None = None) -> Sequence[Sample[A]]:
    """Read the first ``limit`` samples of a split.

    Raises UserError for a split without samples, for an id that occurs twice, and as
    ``check_texts`` does.
    """
    samples = samples_of(task, split)[:limit]
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
    """Raise UserError that counts the sample for one that is no Sample, or whose texts are none.

    Its texts are id, question and subset.

    A prediction names its sample by a text: an id of another type would find none of them again.
    """
    for number, sample in enumerate(samples):
        if not isinstance(sample, Sample):
            raise UserError(
                f"split {split!r}: sample {number} is of type {type(sample).__name__}; return a "
                "list of Sample in the task's samples()"
            )
        for name in ("id", "question", "subset"):
            value = getattr(sample, name)
            if not isinstance(value, str):
                raise UserError(
                    f"split {split!r}: sample {number} has the {name} {value!r:.100}, of type "
                    f"{type(value).__name__}; make it a text in the task's samples()"
                )


class Answered(NamedTuple, Generic[A]):
    """An answer to a sample, or one that is ``missing``, as the task reads it."""

    sample: Sample[A]
    prompt: Prompt
    prediction: Prediction
    completion: Completion
    missing: bool


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
    answers none of the samples, for one whose boxes are written nobody knows how, for one that has
    not a view for each picture, and as ``check_metrics`` does.
    """
    reader = reading(task, boxes)
    answers = pair_answers(task, samples, predictions, repeats, prompts, boxes)
    # A user's task may not bear several threads, in which math-verify judges several at once.
    each = mathverify.each if own_task(task) else map_in_turn
    scores = each(lambda answer: score_of(reader, answer.sample, answer.completion), answers)
    check_metrics(task, [answer.sample for answer in answers], scores)
    return tuple(
        Scored(answer.sample, answer.prompt, answer.prediction, score, missing=answer.missing)
        for answer, score in zip(answers, scores, strict=True)
    )


def check_metrics(task: Task[A], samples: Sequence[Sample[A]], scores: Sequence[Score]) -> None:
    """Raise UserError that names the sample of a score without a metric that others have.

    Means are over all samples: a metric that some answers lack has none.
    """
    for sample, score in zip(samples, scores, strict=True):
        check_primary(task, sample, score)
        check_same(sample, score, scores[0], f"sample {samples[0].id!r}")
        check_same(samples[0], scores[0], score, f"sample {sample.id!r}")


def try_metrics(task: Task[A], sample: Sample[A], prompt: Prompt) -> None:
    """Raise UserError if a user's task gives a gold answer other metrics than an empty one.

    So an evaluation is refused before its first answer, and not after its last.
    """
    if own_task(task):
        return
    empty = completion_of(prompt, Prediction(sample.id, ""))
    least = score_of(task, sample, empty)
    check_primary(task, sample, least)
    with contextlib.suppress(NotImplementedError):  # a task that nobody trains has no gold answers
        text = task.reference(sample, empty.views)
        gold = score_of(task, sample, replace(empty, text=text))
        check_same(sample, least, gold, "its gold answer")
        check_same(sample, gold, least, "an empty answer")


def pair_answers(
    task: Task[A],
    samples: Sequence[Sample[A]],
    predictions: Sequence[Prediction],
    repeats: int,
    prompts: Mapping[str, Prompt] | None,
    boxes: Written | None,
) -> list[Answered[A]]:
    """Return every sample with each of its answers; raise UserError as ``score_answers`` does."""
    if boxes is not None and any(prediction.views for prediction in predictions):
        raise UserError(f"--boxes {boxes}: the lines of the file have views; leave --boxes out")
    boxed = boxes is None and any(task.boxes(sample) for sample in samples)
    unused = {(prediction.sample_id, prediction.repeat): prediction for prediction in predictions}
    answers: list[Answered[A]] = []
    for sample in samples:
        prompt = task.prompt(sample) if prompts is None else prompts[sample.id]
        for repeat in range(repeats):
            given = unused.pop((sample.id, repeat), None)
            if boxed and given and prompt.images and not given.views:
                raise UserError(
                    f"the answer to {sample.id!r} does not say how its boxes are written; give "
                    "--boxes thousandths, pixels (of the picture's file) or fractions to `vrft "
                    'eval --predictions`, or "views" in every line'
                )
            if given and given.views and len(given.views) != len(prompt.images):
                raise UserError(
                    f"the answer to {sample.id!r} has {counted(len(given.views), 'view')} for "
                    f"{counted(len(prompt.images), 'picture')}; give one for each, in their order, "
                    'as "views" of its line'
                )
            prediction = given or Prediction(sample.id, "", repeat=repeat, finished=False)
            completion = completion_of(prompt, prediction, boxes)
            # The views are kept as well: aggregates such as mAP read boxes from the text again.
            prediction = replace(prediction, views=completion.views)
            answers.append(Answered(sample, prompt, prediction, completion, given is None))
    for sample_id, repeat in unused:
        raise UserError(
            f"{len(unused)} of the predictions answer none of the samples, such as {sample_id!r} "
            f"(repeat {repeat}); score them on the split and limit they were made with"
        )
    return answers


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


def has_boxes(task: Task[A], samples: Iterable[Sample[A]]) -> bool:
    """Return whether any of the samples has true boxes, so that answers to all are read as boxes.

    An answer to a sample without an object in its picture may have boxes, which are wrong.
    """
    return any(task.boxes(sample) for sample in samples)


def picture_with_boxes(
    task: Task[A], sample: Sample[A], prompt: Prompt
) -> Path | Image.Image | None:
    """Return the picture of a prompt that boxes are drawn on; None for a prompt without any."""
    return prompt.images[task.boxed_picture(sample)] if prompt.images else None


def parsed_boxes(score: Score) -> tuple[Box, ...]:
    """Return the boxes that were read from an answer, of a task about boxes: four numbers each.

    Numbers of another meaning are no boxes.
    """
    # Score.parsed is plain numbers, as it is written to JSON; a text or number holds no boxes.
    match score.parsed:
        case [*numbers] if len(numbers) % 4 == 0:
            with contextlib.suppress(TypeError, ValueError):
                return tuple(Box(*numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    return ()
