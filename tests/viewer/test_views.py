from pathlib import Path

import pytest
from fakes import viewed

from vrft.errors import UserError
from vrft.viewer import views


def test_a_run_brings_its_own_evaluations_along(tmp_path: Path) -> None:
    before, _ = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(folder / "eval")
    site = views.open_site([folder])
    assert [(id, view.entry["kind"]) for id, view in site.views.items()] == [
        ("r0", "run"),
        ("e0", "answers"),
    ]


def test_evaluations_of_the_same_samples_are_compared(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    site = views.open_site([before, after / "predictions.jsonl"])
    (entry,) = site.comparisons
    assert (entry["id"], entry["before"], entry["after"]) == ("c0-1", "e0", "e1")
    assert entry["title"] == "before → after" and entry["primary"] == "iou"


def test_one_evaluation_is_compared_with_nothing(tmp_path: Path) -> None:
    before, _ = viewed.evaluations(tmp_path)
    assert views.open_site([before, before]).comparisons == []


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        views.open_site([tmp_path / "none"])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation"):
        views.open_site([tmp_path])
