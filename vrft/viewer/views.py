"""What a path holds, a run or an evaluation, and which of several can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.evaluation import locate
from vrft.evaluation.predictions import PREDICTIONS
from vrft.evaluation.results import load_evaluation
from vrft.viewer.answers import AnswersView
from vrft.viewer.run import RunView
from vrft.viewer.site import Site, View, check_views


def open_site(paths: Sequence[Path], *, live: bool = False) -> Site:
    """Return the site of runs and evaluations, those of a run's own folder included.

    Raises UserError for a path that is neither, and for an evaluation that cannot be read.
    """
    runs: dict[str, View] = {}
    evaluations: dict[str, AnswersView] = {}
    for path in dict.fromkeys(paths):
        if is_run(path):
            runs[f"r{len(runs)}"] = RunView(path)
            inside = sorted(path.glob(f"*/{PREDICTIONS}")) + sorted(path.glob(f"*/*/{PREDICTIONS}"))
            folders = [file.parent for file in inside]
        else:
            folders = [evaluation_of(path)]
        for folder in folders:
            evaluations[f"e{len(evaluations)}"] = answers_of(folder)
    check_views({**runs, **evaluations})
    title = " · ".join(path.name or str(path) for path in paths)
    return Site(title, {**runs, **evaluations}, comparisons(evaluations), live)


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a training run."""
    return (path / "config.yaml").is_file() and (path / "metrics.jsonl").is_file()


def evaluation_of(path: Path) -> Path:
    """Return the folder or file of an evaluation; UserError for anything else."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name a run, an evaluation or its answers")
    return locate.evaluation(path)


def answers_of(path: Path) -> AnswersView:
    """Return the view of an evaluation, named after its folder."""
    folder = path if path.is_dir() else path.parent
    return AnswersView(load_evaluation(path), folder.resolve().name, folder)


def comparisons(evaluations: Mapping[str, AnswersView]) -> list[dict[str, Any]]:
    """Return an entry for each two evaluations that answer the same samples, in their order."""
    return [
        comparison(old, new, evaluations)
        for old, new in combinations(evaluations, 2)
        if answered(evaluations[old]) == answered(evaluations[new])
    ]


def comparison(old: str, new: str, evaluations: Mapping[str, AnswersView]) -> dict[str, Any]:
    """Return the catalogue's entry of two evaluations by their short names."""
    before, after = evaluations[old], evaluations[new]
    known = after.entry["metrics"]
    return {
        "id": f"c{old[1:]}-{new[1:]}",
        "kind": "comparison",
        "title": f"{before.title} → {after.title}",
        "before": old,
        "after": new,
        "metrics": [name for name in before.entry["metrics"] if name in known],
        "primary": before.entry["primary"],
    }


def answered(view: AnswersView) -> list[tuple[str, int, str]]:
    """Return (sample, repeat, question) of every answer of a view."""
    scored = view.evaluation.scored
    return [(a.sample.id, a.prediction.repeat, a.sample.question) for a in scored]
