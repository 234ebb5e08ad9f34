"""What an evaluation left in its folder, and what people make of it: scores, pages, comparisons."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from vrft import registry
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import predictions, report, segmentation, stats
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.report import Change, Comparison, Pairing, Sections
from vrft.evaluation.scoring import (
    aggregates,
    boxes_read,
    by_sample,
    mean,
    read_samples,
    score_answers,
    sums,
    tally,
)
from vrft.evaluation.viz import BEFORE, PREDICTED, Answer, Exhibit
from vrft.task import Task
from vrft.types import A, Interval, Prediction, Report, Sample, Scored


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


def compare(name: str, before: Path, after: Path) -> Comparison:
    """The primary metric of two evaluations of one benchmark, and the difference sample by sample.

    Raises UserError if the two folders do not hold the same benchmark, limit and blanking.
    """
    first, second = pair(before, after)
    return replace(compared(first, second, first.task.primary), name=name)


def pairing(before: Path, after: Path) -> Pairing:
    """Every metric of two evaluations of one benchmark, and the samples that changed.

    Raises UserError as ``compare`` does.
    """
    first, second = pair(before, after)
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


def pair(before: Path, after: Path) -> tuple[Evaluation[Any], Evaluation[Any]]:
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


def changes(before: Path, after: Path, count: int = 12) -> list[tuple[str, list[Exhibit]]]:
    """Samples with both answers on one picture: those that gained and lost most, and random ones.

    Raises UserError as ``compare`` does.
    """
    first, second = pair(before, after)
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
