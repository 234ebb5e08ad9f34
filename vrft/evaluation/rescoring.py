"""Scores of saved answers, which another run, a batch service or another tool has made."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import fingerprint, predictions, results, saved_answers, settings_file
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.questions import Questions
from vrft.evaluation.scoring import Written
from vrft.types import Report

if TYPE_CHECKING:  # the room of endpoints imports torch
    from vrft.endpoints.endpoint_settings import EndpointConfig


ELSEWHERE = "score its answers into another folder, by another --out"
"""What to do with answers in a folder that are not those of the evaluation that is asked for."""


def score_file(
    path: Path,
    benchmark: Benchmark,
    *,
    limit: int | None = None,
    out: Path | None = None,
    boxes: Written | None = None,
    fresh: bool = False,
    endpoint: EndpointConfig | None = None,
) -> Report:
    """Score saved answers without a model; write to ``out`` what an evaluation leaves there.

    ``path`` is a predictions.jsonl, the answers of a batch service, or a file of another tool with
    ``id`` and ``text`` in each line. ``boxes`` says how that tool writes boxes; ``endpoint`` says
    instead how the model saw the pictures. Raises UserError for a line that cannot be read, for an
    answer to no sample, for boxes written nobody knows how, if another process writes into
    ``out``, and if it holds another evaluation, which ``fresh`` forgets.
    """
    # Held before the answers are read: they may be those that another process is writing there.
    with contextlib.nullcontext() if out is None else predictions.held(out):
        return score_held(path, benchmark, limit, out, boxes, fresh=fresh, endpoint=endpoint)


def score_held(
    path: Path,
    benchmark: Benchmark,
    limit: int | None,
    out: Path | None,
    boxes: Written | None,
    *,
    fresh: bool,
    endpoint: EndpointConfig | None,
) -> Report:
    """Score saved answers as ``score_file`` does, into a folder that this process holds."""
    questions = Questions.of(benchmark, limit)
    task, samples, prompts = questions.task, questions.samples, questions.prompts
    settings: dict[str, Any] = {
        "benchmark": coercion.to_plain(benchmark),
        "predictions": str(path.resolve()),
        "limit": limit,
        "fingerprint": fingerprint.of_samples(samples),
    }
    in_place = out is not None and path.resolve() == (out / predictions.PREDICTIONS).resolve()
    if out is not None and in_place:
        settings = settings_in_place(out, settings)
    if boxes is not None:
        settings["boxes"] = boxes
    answers, notes = saved_answers.read(path, benchmark.repeats)
    if endpoint is not None:
        answers, seen = saved_answers.with_views(answers, prompts, endpoint)
        settings["endpoint"] = seen
    if notes:
        settings["notes"] = notes
    if out is not None:  # before masks are made, which may take hours, and lie there too
        make_way(out, settings, in_place=in_place, fresh=fresh)
    evaluation = results.score_predictions(
        benchmark, task, samples, answers, settings, folder=out, prompts=prompts
    )
    if out is not None:
        predictions.store(out, settings, answers, in_place=in_place)
        results.publish(evaluation, out)
    return evaluation.report


def make_way(out: Path, settings: Mapping[str, Any], *, in_place: bool, fresh: bool) -> None:
    """Raise UserError if a folder holds another evaluation; delete what was made of it if fresh.

    Its answers themselves, of which ``in_place`` are to be scored, stay until others are written.
    """
    answers = out / predictions.PREDICTIONS
    if fresh:
        predictions.forget_derived(out)
    elif (out / settings_file.SETTINGS).is_file() or (
        not in_place and answers.is_file() and answers.stat().st_size
    ):
        settings_file.check_same(out, {**settings, "fingerprint": {}})


def settings_in_place(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of answers that are scored where they lie: those that made them.

    Raises UserError if they were made for another benchmark or limit, or of other questions: what
    made answers does not change by their being scored.
    """
    if not (out / settings_file.SETTINGS).is_file():
        return settings
    made = settings_file.read_settings(out)
    now = {"benchmark": settings["benchmark"], "limit": settings["limit"], "fingerprint": {}}
    settings_file.check_same(out, {**made, **now}, ELSEWHERE)
    asked, known = settings["fingerprint"], made.get("fingerprint") or {}
    if known.get("questions", asked["questions"]) != asked["questions"]:
        change = f"{fingerprint.CHANGED['questions']} changed since its answers were made"
        raise UserError(f"{out}: {change}; {ELSEWHERE}")
    return made
