"""The demo data sets, one for each task: written from a seed on first use, kept in the cache."""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from vrft import paths
from vrft.demo.course import Course
from vrft.demo.sprites import ASSETS
from vrft.errors import UserError

MODULES = {
    "counting": "counting",
    "detection": "detection",
    "fewshot_classification": "fashion",
    "geoqa": "geometry",
    "lisa_grounding": "grounding",
    "math": "arithmetic",
    "spatial": "spatial",
}
"""Task -> the module here that writes its demo data."""

SHARED = ("instructions", "scenes", "sprites")
"""Modules that the others compose their pictures with."""


class Demo(Protocol):
    """What a module of MODULES has."""

    SPLITS: Mapping[str, int]
    """How many rows each split of the data set has."""

    COURSE: Course | None
    """How the task's embedded model was made; None for the grounding model's own lessons."""

    def write(
        self, folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
    ) -> None:
        """Write splits of so many rows in the task's published schema; same seed, same bytes.

        With probability ``carelessness`` an answer is that of an annotator with a bad habit.
        """


def demo(task: str) -> Demo:
    """The module with a task's demo data; UserError for a task that has none."""
    if task not in MODULES:
        raise UserError(
            f"task {task} has no demo data ({paths.suggest(task, sorted(MODULES))}); "
            "set task.data_dir to your own"
        )
    return cast(Demo, importlib.import_module(f"vrft.demo.{MODULES[task]}"))


def folder(task: str, cache: Path | None = None) -> Path:
    """The folder of a task's demo data set.

    Made on first use in ``cache``, else in $VRFT_CACHE, else in ~/.cache/vrft; its name changes
    with everything that it is made from. Raises UserError if it cannot be written.
    """
    made_by = demo(task)
    if cache is None:
        cache = Path(os.environ.get("VRFT_CACHE") or Path.home() / ".cache" / "vrft")
    target = cache / f"demo-{task}-{recipe(task)}"
    if target.is_dir():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as parent:
            made = Path(parent) / "data"
            made_by.write(made, made_by.SPLITS)
            made.rename(target)
    except OSError as error:
        # Another process may have finished the same folder first.
        if not target.is_dir():
            raise UserError(
                f"{cache}: cannot write the demo data there ({error}); "
                "set VRFT_CACHE to a folder that can be written"
            ) from error
    return target


def recipe(task: str) -> str:
    """Twelve hexadecimal digits that stand for the code and the pictures behind a data set."""
    digest = hashlib.sha256()
    code = [Path(__file__).with_name(f"{name}.py") for name in (MODULES[task], *SHARED)]
    assets = (path for path in sorted(ASSETS.rglob("*")) if path.suffix != ".md" and path.is_file())
    for path in (*code, *assets):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
