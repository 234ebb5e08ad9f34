"""Demo data sets, one per task: written from a seed on first use and kept in the cache."""

from __future__ import annotations

import hashlib
import importlib
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
"""Task -> the module of ``vrft.demo`` that writes its demo data."""

SHARED = ("instructions", "scenes", "splits", "sprites")
"""Modules of ``vrft.demo`` that the modules of tasks draw and divide their data with."""


class Demo(Protocol):
    """A module of MODULES."""

    SPLITS: Mapping[str, int]
    """Split -> its number of rows in the demo data set."""

    COURSE: Course | None
    """Course that made the task's embedded model; None for grounding, which has its own lessons."""

    def write(
        self, folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
    ) -> None:
        """Write ``splits`` (name -> number of rows) in the schema of the task's published data.

        The same seed writes the same bytes. With probability ``carelessness`` an answer is that of
        an annotator with a bad habit.
        """


def demo(task: str) -> Demo:
    """Return the module that writes a task's demo data; raise UserError if there is none."""
    if task not in MODULES:
        raise UserError(
            f"task {task} has no demo data ({paths.suggest(task, sorted(MODULES))}); "
            "set task.data_dir to your own"
        )
    return cast(Demo, importlib.import_module(f"vrft.demo.{MODULES[task]}"))


def folder(task: str, cache: Path | None = None) -> Path:
    """Return the folder of a task's demo data set, written first if the cache does not have it.

    The cache is ``cache``, else that of ``paths.cache``. Raises UserError if the data cannot be
    written there.
    """
    module = demo(task)
    if cache is None:
        cache = paths.cache()
    target = cache / f"demo-{task}-{recipe(task)}"
    if target.is_dir():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Written beside the target, so that the final rename stays within one file system and is
        # atomic: a folder of the target's name is always complete. A clean-up that fails leaves
        # rubbish in the cache, but is no reason to refuse the data.
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as parent:
            unfinished = Path(parent) / "data"
            module.write(unfinished, module.SPLITS)
            unfinished.rename(target)
    except OSError as error:
        # Another process may have finished the same folder first: its bytes are the same.
        if not target.is_dir():
            raise UserError(
                f"{cache}: cannot write the demo data there ({error}); "
                "set VRFT_CACHE to a folder that can be written"
            ) from error
    return target


def recipe(task: str) -> str:
    """Return twelve hexadecimal digits that stand for the code and pictures behind a data set."""
    digest = hashlib.sha256()
    code = [Path(__file__).with_name(f"{name}.py") for name in (MODULES[task], *SHARED)]
    # Licences may be reworded without writing all data sets again.
    assets = (path for path in sorted(ASSETS.rglob("*")) if path.suffix != ".md" and path.is_file())
    for path in (*code, *assets):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
