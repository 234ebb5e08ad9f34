"""The view of a run: its metrics in columns, settings, warnings, and the groups of its steps."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from vrft import registry
from vrft.boxes import Box
from vrft.config import loading
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation.scoring import has_boxes, picture_with_boxes
from vrft.runs import launches
from vrft.runs.run_log import WARNINGS, by_step, read_metrics
from vrft.task import Task
from vrft.types import Sample
from vrft.viewer.pictures import picture_file
from vrft.viewer.prompts import boxes_of, prompt_parts, shapes_of

HISTORY = re.compile(r"config-([1-9][0-9]*)\.yaml")
"""The file of the settings that a run has had from a step on."""

FILES = {"metrics": "metrics.jsonl", "warnings": WARNINGS}


class RunView:
    """One run in its folder.

    Documents: ``metrics``, every metric as a column beside the column of steps; ``warnings``;
    ``changes``, the resumptions; ``steps``, the steps whose completions were logged; ``step-N``,
    the groups of step N. The folder is read anew for each, so that a run can be followed.
    """

    def __init__(self, folder: Path, title: str = "") -> None:
        self.folder = folder
        self.title = title or folder.name
        self.sources: dict[str, Path | Image.Image] = {}

    @cached_property
    def config(self) -> Config:
        """Return the settings of the run."""
        return loading.load(str(self.folder / "config.yaml"))

    @cached_property
    def data(self) -> tuple[Task[Any] | None, Mapping[str, Sample[Any]], str]:
        """Return the task, its training samples by id, and why there are none, if so."""
        try:
            task = registry.build(self.config.task)
            return task, {sample.id: sample for sample in task.samples("train")}, ""
        except UserError as error:
            return None, {}, str(error)

    @property
    def entry(self) -> dict[str, Any]:
        """Return title, settings and seed; runs that differ by the seed alone have one ``arm``."""
        settings = loading.flat(self.config)
        apart = {"train.seed", "train.output_dir"}
        arm = json.dumps({name: settings[name] for name in settings if name not in apart})
        return {
            "kind": "run",
            "title": self.title,
            "folder": str(self.folder),
            "method": self.config.algorithm.name,
            "seed": self.config.train.seed,
            "arm": arm,
            "settings": settings,
            "logged": bool(self.steps()),
        }

    def documents(self) -> Iterable[str]:
        """Return "metrics", "warnings", "changes", "steps" and a document for each logged step."""
        return [
            "metrics",
            "warnings",
            "changes",
            "steps",
            *(f"step-{step}" for step in self.steps()),
        ]

    def document(self, name: str) -> Any:
        """Return a document; KeyError for a name that is none."""
        if name == "metrics":
            return columns(by_step(self.rows("metrics")))
        if name == "warnings":
            return self.rows("warnings")
        if name == "changes":
            return changes(self.folder)
        if name == "steps":
            return self.steps()
        kind, _, number = name.partition("-")
        # By its file: an export that listed all steps for each would take N squared.
        step = int(number) if kind == "step" and number.isdecimal() else -1
        if not self.log_of(step).is_file():
            raise KeyError(name)
        return self.groups(step)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of a file of the run; [] where there is none."""
        path = self.folder / FILES[kind]
        return logged_rows(path) if path.is_file() else []

    def steps(self) -> list[int]:
        """Return the steps whose completions were logged, the first one first."""
        names = (path.stem for path in (self.folder / "completions").glob("*.jsonl"))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def log_of(self, step: int) -> Path:
        """Return the file of a step's completions, if they were logged."""
        return self.folder / "completions" / f"{step:06}.jsonl"

    def groups(self, step: int) -> dict[str, Any]:
        """Return the groups of a step, each with its prompt, truth, pictures and answers."""
        rows = logged_rows(self.log_of(step))
        size = self.config.algorithm.num_generations
        cut = [rows[first : first + size] for first in range(0, len(rows), size)]
        return {"note": self.data[2], "groups": [self.group(part) for part in cut]}

    def group(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one group: the sample's prompt and true boxes, and the answers with their own."""
        task, samples, _ = self.data
        sample = samples.get(rows[0]["sample_id"])
        shown: dict[str, Any] = {"id": rows[0]["sample_id"], "prompt": [], "pictures": []}
        truth: list[list[float]] = []
        if task is not None and sample is not None:
            prompt, truth = task.prompt(sample), boxes_of(task.boxes(sample))
            shown["prompt"] = prompt_parts(prompt)
            picture = picture_with_boxes(task, sample, prompt)
            shown["boxed"] = task.boxed_picture(sample)
            shown["shapes"] = shapes_of(task.region(sample), picture)
            shown["pictures"] = [
                picture_file(image, self.sources, f"{sample.id} {place}")
                for place, image in enumerate(prompt.images)
            ]
        answers = [
            {**row, "boxes": boxes_read(row.get("parsed")) if self.boxed else []} for row in rows
        ]
        return {**shown, "true": truth, "answers": answers}

    @cached_property
    def boxed(self) -> bool:
        """Return whether the answers are boxes; False where the data cannot be read."""
        task, samples, _ = self.data
        return task is not None and has_boxes(task, samples.values())

    def pictures(self) -> Iterable[str]:
        """Return the names of the pictures of all logged steps."""
        for step in self.steps():
            with contextlib.suppress(UserError):  # whose document says why
                self.groups(step)
        return list(self.sources)

    def picture(self, name: str) -> Path | Image.Image:
        """Return the source of a picture; KeyError for a name that is none."""
        return self.sources[name]


def changes(run: Path) -> list[dict[str, Any]]:
    """Return the first step of each resumption of a run, and what differed from then on.

    That are settings, by the history of config-STEP.yaml, versions and the machine, by
    launches.json, each in a line. Raises UserError for one of these files that cannot be read.
    """
    lines: dict[int, list[str]] = {}
    starts = [(int(m[1]), p) for p in run.glob("config-*.yaml") if (m := HISTORY.fullmatch(p.name))]
    held = [(step, loading.flat(loading.load(str(path)))) for step, path in sorted(starts)]
    for (_, old), (step, new) in pairwise(held):
        lines[step] = [
            f"{name}: {json.dumps(old.get(name))} → {json.dumps(new.get(name))}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name) and name != "train.output_dir"
        ]
    for before, now in pairwise(launches.read(run)):
        differ = [line.replace(" -> ", " → ") for line in launches.changes(before, now)]
        lines[now.step] = lines.get(now.step, []) + differ
    return [{"step": step, "lines": lines[step]} for step in sorted(lines)]


def logged_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log of the run; UserError for one that is not JSON."""
    try:
        return read_metrics(path)
    except ValueError as error:  # of JSON, or of its letters
        raise UserError(f"{path}: cannot be read ({error})") from error


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows as columns; None where a row lacks a metric."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def boxes_read(parsed: Any) -> list[list[float]]:
    """Return the boxes of a logged answer: four numbers in [0, 1] each; [] for anything else."""
    if not isinstance(parsed, list) or len(parsed) % 4 or not all(is_number(v) for v in parsed):
        return []
    fours = [parsed[place : place + 4] for place in range(0, len(parsed), 4)]
    try:
        return boxes_of(Box(*four) for four in fours)
    except ValueError:
        return []  # numbers of another meaning


def is_number(value: Any) -> bool:
    """Return whether a value of JSON is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
