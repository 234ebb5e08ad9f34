"""Whether two evaluations have asked the same: by settings, questions and pictures.

Where the data of each lay, and in which format, makes no difference.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vrft import registry
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import fingerprint, settings_file
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.results import Evaluation
from vrft.types import Prompt

REMEDY = "compare two models that were asked the same"


def check(first: Evaluation[Any], second: Evaluation[Any], both: str) -> None:
    """Raise UserError, which calls two evaluations ``both``, if they have asked different things.

    Their models and limits may differ; the questions that both were asked are compared.
    """
    differ = settings_file.differences(asked_settings(first), asked_settings(second))
    if others := [row for row in differ if row[0] not in settings_file.PLACES]:
        raise UserError(f"{both} differ in {told(others)}; {REMEDY}")
    if differ:
        check_questions(first, second, f"{both}, which differ in {told(differ)},")
    if not same_pictures(first, second, looked_at=bool(differ)):
        raise UserError(f"{both} were asked about different pictures; evaluate one of them again")


def asked_settings(evaluation: Evaluation[Any]) -> dict[str, Any]:
    """Return the settings that decide what was asked, without the model's and the limit.

    A setting that was left out equals its default written down.
    """
    benchmark = coercion.build(Benchmark, evaluation.settings["benchmark"])
    tree = coercion.to_plain(benchmark)
    task: Any = registry.build(benchmark.task)
    fields = [field.name for field in dataclasses.fields(task) if field.init]
    own = {name: fingerprint.plain(getattr(task, name)) for name in fields}
    tree["task"] = {"name": benchmark.task.name, "settings": own}
    return {
        "benchmark": {name: v for name, v in tree.items() if name not in settings_file.WORDS},
        # Scored answers of another tool have no such entry.
        "blank_images": evaluation.settings.get("blank_images", False),
    }


def told(differ: Sequence[tuple[str, Any, Any]]) -> str:
    """Return settings with both of their values, such as "seed (0 and 7)"."""
    texts = []
    for path, *values in differ:
        name = path.removeprefix("benchmark.").replace("task.settings.", "task.")
        was, new = (json.dumps(value, ensure_ascii=False) for value in values)
        texts.append(f"{name} ({was} and {new})")
    return ", ".join(texts)


def check_questions(first: Evaluation[Any], second: Evaluation[Any], both: str) -> None:
    """Raise UserError for tasks of different code, and for a sample that is not the same in both.

    That is its question, gold answer, subset and prompt.
    """
    tasks = [type(evaluation.task) for evaluation in (first, second)]
    if tasks[0] is not tasks[1] and fingerprint.code_hash(tasks[0]) != fingerprint.code_hash(
        tasks[1]
    ):
        raise UserError(f"{both} have tasks of different code; {REMEDY}")
    old, new = questions_of(first), questions_of(second)
    for id, question in old.items():
        if id in new and new[id] != question:
            raise UserError(f"{both} were asked different things as {id!r}; {REMEDY}")


def questions_of(evaluation: Evaluation[Any]) -> dict[str, Any]:
    """Return sample id -> its question, subset, gold answer and prompt, but for the pictures."""
    names = [field.name for field in dataclasses.fields(Prompt) if field.name != "images"]
    plain = fingerprint.plain
    return {
        answer.sample.id: [
            *(answer.sample.question, answer.sample.subset, plain(answer.sample.answer)),
            *(plain(getattr(answer.prompt, name)) for name in names),
        ]
        for answer in evaluation.scored
    }


def same_pictures(first: Evaluation[Any], second: Evaluation[Any], *, looked_at: bool) -> bool:
    """Return whether two evaluations were asked about the same pictures.

    Of fewer samples there are fewer pictures, and saved answers were scored without looking at any:
    then, where data may be others (``looked_at``), the pictures of both are read as they are now.
    Raises PictureError for one that has gone.
    """
    evaluations = first, second
    limits = [evaluation.settings.get("limit") for evaluation in evaluations]
    known = [(each.settings.get("fingerprint") or {}).get("pictures") for each in evaluations]
    if limits[0] == limits[1] and None not in known:
        return bool(known[0] == known[1])
    if not looked_at:
        return True
    ids = {answer.sample.id for answer in first.scored}
    ids &= {answer.sample.id for answer in second.scored}
    hashes = [pictures_of(evaluation, ids) for evaluation in evaluations]
    return hashes[0] == hashes[1]


def pictures_of(evaluation: Evaluation[Any], ids: Collection[str]) -> Mapping[str, list[str]]:
    """Return sample id -> the content hashes of its pictures, of the samples ``ids``."""
    prompts = {answer.sample.id: answer.prompt for answer in evaluation.scored}
    wanted = {id: prompt.images for id, prompt in prompts.items() if id in ids}
    hashes = iter(fingerprint.picture_hashes([image for each in wanted.values() for image in each]))
    return {id: [next(hashes) for _ in images] for id, images in wanted.items()}
