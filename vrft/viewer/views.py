"""The views of one site: the runs and evaluations that paths hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.errors import UserError
from vrft.evaluation import locate
from vrft.evaluation.predictions import PREDICTIONS
from vrft.evaluation.results import load_evaluation
from vrft.viewer.answers import AnswersView
from vrft.viewer.comparison import comparisons
from vrft.viewer.run import RunView
from vrft.viewer.site import Site, Tab, check_views


@dataclass(frozen=True)
class UnreadableView:
    """An evaluation or run that cannot be read, with the line that says why; without documents."""

    title: str
    folder: Path
    problem: str

    @property
    def entry(self) -> dict[str, Any]:
        """Return title, folder and problem."""
        folder = str(self.folder)
        return {
            "kind": "unreadable",
            "title": self.title,
            "folder": folder,
            "problem": self.problem,
        }

    def documents(self) -> Iterable[str]:
        """Return nothing."""
        return []

    def document(self, name: str) -> Any:
        """Raise KeyError, as there are none."""
        raise KeyError(name)

    def pictures(self) -> Iterable[str]:
        """Return nothing."""
        return []

    def picture(self, name: str) -> Path | Image.Image:
        """Raise KeyError, as there are none."""
        raise KeyError(name)


def open_site(paths: Sequence[Path], *, live: bool = False) -> Site:
    """Return the site of runs and evaluations, those of a run or of a folder included.

    A folder of runs brings all of them. Two evaluations alone are opened at their comparison.
    Raises UserError for a path that is neither, and for a run or an evaluation that cannot be read
    and was named itself; one that a run or a folder brings along is then shown with the reason.
    """
    runs = run_views(paths)
    views = evaluation_views([*paths, *(run for path in paths for run in runs_of(path))])
    answers = {id: view for id, view in views.items() if isinstance(view, AnswersView)}
    shown = [*runs.values(), *views.values()]
    problems = [view.problem for view in shown if isinstance(view, UnreadableView)]
    if problems and len(problems) == len(shown):
        raise UserError(problems[0])
    compared = comparisons(answers)
    every: dict[str, Tab] = {**runs, **views, **compared}
    check_views(every)
    title = " · ".join(distinct(list(dict.fromkeys(path.resolve() for path in paths))))
    alone = not runs and len(views) == 2
    return Site(title, every, live, start=next(iter(compared), "") if alone else "")


def run_views(paths: Sequence[Path]) -> dict[str, Tab]:
    """Return the views of the training runs among paths and in them, each once."""
    folders: dict[Path, Path] = {}
    for run in [*filter(is_run, paths), *(run for path in paths for run in runs_of(path))]:
        folders.setdefault(run.resolve(), run)
    titles = distinct(list(folders))
    return {
        f"r{number}": run_view(folder, title, named=folder in paths)
        for number, (folder, title) in enumerate(zip(folders.values(), titles, strict=True))
    }


def run_view(folder: Path, title: str, *, named: bool) -> RunView | UnreadableView:
    """Return the view of a run; of one that was named, ``check_views`` tells what is unreadable."""
    view = RunView(folder, title)
    try:
        if not named:
            dict(view.entry)
    except UserError as error:
        return UnreadableView(title, folder, str(error))
    return view


def runs_of(path: Path) -> list[Path]:
    """Return the runs in a folder that is none itself, or in the folders in it, by their names."""
    if not path.is_dir() or is_run(path):
        return []
    inside = [
        file.parent for pattern in ("*", "*/*") for file in path.glob(f"{pattern}/config.yaml")
    ]
    return sorted(filter(is_run, inside))


def evaluation_views(paths: Sequence[Path]) -> dict[str, AnswersView | UnreadableView]:
    """Return the views of the evaluations that paths name or bring along, each once."""
    sources: dict[Path, tuple[Path, bool]] = {}
    for path in paths:
        for source, named in evaluations_of(path):
            key = source.resolve()
            sources[key] = (source, named or sources.get(key, (source, False))[1])
    titles = distinct(list(sources))
    return {
        f"e{number}": evaluation_view(*source, title)
        for number, (source, title) in enumerate(zip(sources.values(), titles, strict=True))
    }


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a training run, be it that its model is still loaded.

    A run's first settings lie in config-1.yaml too, from its start on.
    """
    begun = any((path / name).is_file() for name in ("metrics.jsonl", "config-1.yaml"))
    return begun and (path / "config.yaml").is_file()


def evaluations_of(path: Path) -> list[tuple[Path, bool]]:
    """Return the evaluations that a path names, each with whether it was named itself.

    A run has those in its folder and in runs/eval, another folder those below it; the oldest come
    first. Raises UserError for a path that holds none, and no run.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name a run, an evaluation or its answers")
    if path.name == PREDICTIONS:
        path = path.parent
    if path.is_file() or ((path / PREDICTIONS).is_file() and not is_run(path)):
        return [(path, True)]
    folders = locate.evaluations(path)
    if not folders and not is_run(path) and not runs_of(path):
        locate.evaluation(path)  # says how to make one
    return [(folder, False) for folder in folders]


def evaluation_view(path: Path, named: bool, title: str) -> AnswersView | UnreadableView:
    """Return the view of an evaluation; of one that was named, raise UserError if unreadable."""
    folder = path if path.is_dir() else path.parent
    try:
        return AnswersView(load_evaluation(path), title, folder)
    except UserError as error:
        if named:
            raise
        return UnreadableView(title, folder, str(error))


def distinct(paths: Sequence[Path]) -> list[str]:
    """Return the ends of absolute paths by which they differ: "before/cvbench", "after/cvbench"."""
    lengths = dict.fromkeys(paths, 1)

    def title(path: Path) -> str:
        return "/".join(path.parts[-lengths[path] :])

    while doubled := [path for path in paths if [*map(title, paths)].count(title(path)) > 1]:
        for path in doubled:
            lengths[path] += 1
    return [title(path) for path in paths]
