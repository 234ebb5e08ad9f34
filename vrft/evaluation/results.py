"""An evaluation in its folder: loaded and scored again, published, and shown as a page."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from vrft import registry
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import predictions, report, segmentation
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.report import Sections
from vrft.evaluation.scoring import boxes_read, read_samples, score_answers, tally
from vrft.evaluation.viz import PREDICTED, Answer, Exhibit
from vrft.task import Task
from vrft.types import A, Prediction, Report, Sample, Scored


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[A]):
    """Graded answers with their report; ``settings`` say what made them."""

    task: Task[A]
    graded: tuple[Scored[A], ...]
    report: Report
    settings: Mapping[str, Any]


def assess(
    benchmark: Benchmark,
    task: Task[A],
    samples: Sequence[Sample[A]],
    found: Sequence[Prediction],
    settings: Mapping[str, Any],
    folder: Path | None = None,
) -> Evaluation[A]:
    """The predictions graded; UserError for one that answers none of the samples.

    Masks that the benchmark's segmenter makes are kept in the folder.
    """
    graded = score_answers(task, samples, found, benchmark.repeats)
    if benchmark.segmenter:
        graded = segmentation.with_masks(task, graded, benchmark.segmenter, folder)
    tallied = tally(task, graded, benchmark.name, benchmark.paper)
    tallied = replace(tallied, paper_by_metric=benchmark.paper_by_metric)
    return Evaluation(task, graded, tallied, settings)


def load_evaluation(path: Path) -> Evaluation[Any]:
    """An evaluation from its folder or predictions.jsonl, scored again.

    Raises UserError if the predictions or the settings.json beside them cannot be read.
    """
    path = path / predictions.PREDICTIONS if path.is_dir() else path
    found = predictions.read_predictions(path)
    settings = predictions.read_settings(path.parent)
    if not isinstance(settings.get("benchmark"), Mapping):
        raise UserError(f"{path.parent / predictions.SETTINGS}: not the settings of an evaluation")
    benchmark = coercion.build(Benchmark, settings["benchmark"])
    task: Task[Any] = registry.build(benchmark.task)
    samples = read_samples(task, benchmark.split, settings.get("limit"))
    return assess(benchmark, task, samples, found, settings, path.parent)


def publish(evaluation: Evaluation[Any], folder: Path, count: int = 8) -> None:
    """Write scores.json and index.html, with the worst, best and some random ``count`` answers."""
    order = ranked(evaluation)
    chosen = random.Random(0).sample(evaluation.graded, min(count, len(order)))
    sections = [
        ("Worst", exhibits(evaluation, order[:count])),
        ("Best", exhibits(evaluation, order[::-1][:count])),
        ("Random", exhibits(evaluation, chosen)),
    ]
    write_page(folder / "index.html", evaluation, sections)
    predictions.write_json(folder / "scores.json", report.to_json(evaluation.report))


def show(path: Path, out: Path | None = None, *, worst: int = 20) -> Path:
    """Write a page of the ``worst`` answers of an evaluation, and return where it lies.

    ``path`` is its predictions.jsonl or folder; the page is worst.html in that folder unless
    ``out`` says otherwise. Raises UserError as ``load`` does.
    """
    evaluation = load_evaluation(path)
    out = out or (path if path.is_dir() else path.parent) / "worst.html"
    found = exhibits(evaluation, ranked(evaluation)[:worst])
    write_page(out, evaluation, [("Worst", found)])
    return out


def write_page(out: Path, evaluation: Evaluation[Any], sections: Sections) -> None:
    """The evaluation's page with these sections."""
    html = report.page(evaluation.report, sections, evaluation.settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")


def ranked(evaluation: Evaluation[A]) -> list[Scored[A]]:
    """The answers from the worst to the best by the primary metric, unreadable ones first."""
    primary = evaluation.task.primary

    def rank(answer: Scored[A]) -> tuple[float, bool]:
        return answer.score.metrics[primary], answer.score.parsed is not None

    return sorted(evaluation.graded, key=rank)


def exhibits(evaluation: Evaluation[A], graded: Sequence[Scored[A]]) -> list[Exhibit]:
    """The answers ready to be shown, each with the true boxes and its own."""
    task = evaluation.task
    return [exhibit(task, one.sample, [answer(task, one, "answer")]) for one in graded]


def exhibit(task: Task[A], sample: Sample[A], answers: Sequence[Answer]) -> Exhibit:
    """Answers to one sample with its first picture and true boxes."""
    images = task.prompt(sample).images
    image = images[0] if images else None
    return Exhibit(sample.id, sample.question, tuple(answers), image, task.boxes(sample))


def answer(task: Task[A], graded: Scored[A], name: str, colour: str = PREDICTED) -> Answer:
    """A graded answer under the name and in the colour in which it is shown."""
    score = graded.score
    boxes = boxes_read(score) if task.boxes(graded.sample) else ()
    readable = score.parsed is not None
    return Answer(name, graded.prediction.text, score.metrics, readable, colour, boxes)
