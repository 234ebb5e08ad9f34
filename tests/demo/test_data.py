"""Demo data sets: one for each task, written once and kept in the cache."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from vrft.demo import data, grounding
from vrft.demo.sprites import ASSETS
from vrft.errors import UserError

TASK = "lisa_grounding"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace ``write`` by one that is quick, and return the list of folders it wrote."""
    calls: list[Path] = []

    def note(folder: Path, splits: Mapping[str, int]) -> None:
        calls.append(folder)
        for split in splits:
            (folder / split).mkdir(parents=True)

    monkeypatch.setattr(grounding, "write", note)
    return calls


def test_the_data_set_is_made_once_and_leaves_nothing_beside_it(
    tmp_path: Path, quick: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "new" / "cache"))
    first = data.folder(TASK)
    assert data.folder(TASK) == first and len(quick) == 1
    assert list((tmp_path / "new" / "cache").iterdir()) == [first]
    assert {path.name for path in first.iterdir()} == set(grounding.SPLITS)


def test_the_slower_of_two_processes_takes_what_the_faster_made(
    tmp_path: Path, quick: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, target = grounding.write, tmp_path / f"demo-{TASK}-{data.recipe(TASK)}"

    def overtaken(folder: Path, splits: Mapping[str, int]) -> None:
        slow(folder, splits)
        (target / "train").mkdir(parents=True, exist_ok=True)
        (target / "train" / "rival").touch()

    monkeypatch.setattr(grounding, "write", overtaken)
    assert data.folder(TASK, tmp_path) == target
    assert (target / "train" / "rival").exists()
    assert list(tmp_path.iterdir()) == [target]


def test_a_broken_off_attempt_is_no_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(folder: Path, splits: Mapping[str, int]) -> None:
        (folder / "train").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(grounding, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        data.folder(TASK, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.*set VRFT_CACHE to a folder") as caught:
        data.folder(TASK, tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_task_without_a_demo_is_told_so() -> None:
    with pytest.raises(UserError, match=r"task naming\.py has no demo data .*task\.data_dir"):
        data.folder("naming.py")


def test_a_changed_picture_is_another_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data.recipe(TASK)
    shutil.copytree(ASSETS, tmp_path / "assets")
    monkeypatch.setattr(data, "ASSETS", tmp_path / "assets")
    assert data.recipe(TASK) == before
    with (tmp_path / "assets" / "sprites" / "noto" / "owl.png").open("ab") as file:
        file.write(b"\0")
    assert data.recipe(TASK) != before
