"""An evaluation in its folder: scored, published, loaded again, and its answers to be shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from vrft import registry
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import fingerprint, predictions, report, segmentation, settings_file
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.scoring import (
    has_boxes,
    parsed_boxes,
    picture_with_boxes,
    read_samples,
    reading,
    score_answers,
)
from vrft.evaluation.summary import report_on
from vrft.task import Task
from vrft.types import A, Prediction, Prompt, Report, Sample, Scored
from vrft.viz import COLOURS, Answer, Exhibit


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[A]):
    """Scored answers with their report."""

    task: Task[A]
    scored: tuple[Scored[A], ...]
    """All answers in the order of the samples, several to a sample one after the other."""
    report: Report
    settings: Mapping[str, Any]
    """The contents of settings.json: what made the answers."""


def score_predictions(
    benchmark: Benchmark,
    task: Task[A],
    samples: Sequence[Sample[A]],
    answers: Sequence[Prediction],
    settings: Mapping[str, Any],
    *,
    folder: Path | None = None,
    prompts: Mapping[str, Prompt] | None = None,
) -> Evaluation[A]:
    """Score the answers to a benchmark and report on them.

    ``prompts``, by sample id, are those that the samples were asked with. Masks that the
    benchmark's segmenter makes are stored in ``folder``. Raises UserError for a prediction that
    answers none of the samples.
    """
    boxes = settings.get("boxes")
    scored = score_answers(task, samples, answers, benchmark.repeats, prompts, boxes)
    task = reading(task, boxes)
    if benchmark.segmenter:
        scored = segmentation.score_masks(task, scored, benchmark.segmenter, folder)
    notes = tuple(settings.get("notes", ()))
    summary = replace(report_on(task, scored, benchmark.name), notes=notes)
    if reason := why_unpublished(benchmark, len(samples), settings):
        summary = replace(summary, notes=(*notes, f"the paper's values are left out: {reason}"))
    else:
        summary = replace(summary, paper=benchmark.paper, paper_by_metric=benchmark.paper_by_metric)
    return Evaluation(task, scored, summary, settings)


def why_unpublished(benchmark: Benchmark, samples: int, settings: Mapping[str, Any]) -> str:
    """Return why the published values say nothing about answers of such settings; "" if they do."""
    endpoint = settings.get("endpoint")
    omitted = endpoint.get("omit", ()) if isinstance(endpoint, Mapping) else ()
    return benchmark.why_unpublished(
        samples,
        settings.get("limit"),
        blank_images=bool(settings.get("blank_images")),
        omitted=[name for name in omitted if name != "seed"],  # any seed will do
    )


def load_evaluation(path: Path) -> Evaluation[Any]:
    """Load an evaluation from its folder or predictions.jsonl, and score its answers again.

    Raises UserError if the predictions or the settings.json beside them cannot be read, and if the
    data have gone, or their questions changed, since they were answered. Pictures are not compared.
    """
    path = path / predictions.PREDICTIONS if path.is_dir() else path
    answers = predictions.read_predictions(path)
    settings = settings_file.read_settings(path.parent)
    if not isinstance(settings.get("benchmark"), Mapping):
        raise UserError(
            f"{path.parent / settings_file.SETTINGS}: not the settings of an evaluation"
        )
    # The benchmark as it was when the answers were made, not as its YAML file reads today.
    benchmark = coercion.build(Benchmark, settings["benchmark"])
    check_place(benchmark, path.parent)
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, settings.get("limit"))
    check_samples(samples, settings, path.parent)
    return score_predictions(benchmark, task, samples, answers, settings, folder=path.parent)


def check_place(benchmark: Benchmark, folder: Path) -> None:
    """Raise UserError if the data of the evaluation in ``folder`` no longer lie where they lay."""
    place = benchmark.task.settings.get("data_dir")
    if isinstance(place, str) and Path(place).is_absolute() and not Path(place).exists():
        raise UserError(
            f"{folder}: its data are no longer at {place}; where they were moved, the same `vrft "
            f"eval` with their new place and --out {shlex.quote(str(folder))} asks nothing anew"
        )


def check_samples(
    samples: Sequence[Sample[Any]], settings: Mapping[str, Any], folder: Path
) -> None:
    """Raise UserError if these samples ask other questions than those that were answered.

    Other gold answers are noted on standard error, as correcting them is a reason to score again.
    """
    known, now = settings.get("fingerprint") or {}, fingerprint.of_samples(samples)
    if known.get("questions", now["questions"]) != now["questions"]:
        raise UserError(
            f"{folder}: {fingerprint.CHANGED['questions']} changed since they were answered; "
            "evaluate again with --fresh"
        )
    if known.get("answers", now["answers"]) != now["answers"]:
        change = fingerprint.CHANGED["answers"]
        print(f"note: {folder}: {change} changed; scored against today's", file=sys.stderr)


def publish(evaluation: Evaluation[Any], folder: Path) -> None:
    """Write scores.json, the report of an evaluation, to its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings_file.write_json(folder / predictions.SCORES, report.to_json(evaluation.report))


def worst_first(evaluation: Evaluation[A]) -> list[Scored[A]]:
    """Return the answers from the worst to the best by the primary metric.

    Among equal scores the unreadable answers come first, then those of earlier samples.
    """
    primary = evaluation.task.primary

    def rank(answer: Scored[A]) -> tuple[float, bool]:
        return answer.score.metrics[primary], answer.score.parsed is not None

    return sorted(evaluation.scored, key=rank)


def exhibits(evaluation: Evaluation[A], scored: Sequence[Scored[A]]) -> list[Exhibit]:
    """Return scored answers ready to be shown, each with the true boxes and its own."""
    boxed = about_boxes(evaluation)
    return [exhibit(evaluation.task, {"answer": answer}, boxed) for answer in scored]


def about_boxes(evaluation: Evaluation[A]) -> bool:
    """Return whether the answers of an evaluation are boxes."""
    return has_boxes(evaluation.task, (answer.sample for answer in evaluation.scored))


def exhibit(task: Task[A], answers: Mapping[str, Scored[A]], boxed: bool) -> Exhibit:
    """Return answers to one sample ready to be shown, with its true boxes and their picture.

    ``answers`` has at least one, by the name of its giver in ``viz.COLOURS``; ``boxed`` says
    whether they are read as boxes.
    """
    first = next(iter(answers.values()))
    shown = tuple(
        Answer(
            name,
            answer.prediction.text,
            answer.score.metrics,
            readable=answer.score.parsed is not None,
            colour=COLOURS[name],
            # Four numbers that a task about something else has read are no box.
            boxes=parsed_boxes(answer.score) if boxed else (),
        )
        for name, answer in answers.items()
    )
    image = picture_with_boxes(task, first.sample, first.prompt)
    return Exhibit(first.sample.id, first.sample.question, shown, image, task.boxes(first.sample))
