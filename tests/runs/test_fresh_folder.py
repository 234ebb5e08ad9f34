"""A run that is refused before its first step leaves no folder that it made itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.runs import fresh_folder
from vrft.runs.run_log import WARNINGS


def attempt(folder: Path, error: BaseException, steps: int = 0, *names: str) -> None:
    """Write some files into a run's folder, and end by an error after so many steps."""
    with pytest.raises(type(error)), fresh_folder.held(folder, lambda: steps):
        for name in ("config.yaml", "metrics.jsonl", *names):
            (folder / name).touch()
        raise error


REFUSED = UserError("no")


def test_a_folder_that_was_made_goes_with_the_empty_ones_above_it(tmp_path: Path) -> None:
    attempt(tmp_path / "runs" / "a", REFUSED)
    assert not list(tmp_path.iterdir())
    attempt(tmp_path / "runs" / "a", UserError("twice"))  # nothing is left that would complain


def test_what_was_there_before_stays_and_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    attempt(folder, REFUSED)
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "config.yaml"}


def test_a_neighbour_of_the_run_stays(tmp_path: Path) -> None:
    def neighbour() -> int:
        (tmp_path / "runs" / "another").mkdir()
        return 0

    with pytest.raises(UserError), fresh_folder.held(tmp_path / "runs" / "a", neighbour):
        raise REFUSED
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["another"]


def test_warnings_stay_and_leave_the_folder_free(tmp_path: Path) -> None:
    attempt(tmp_path / "run", REFUSED, 0, WARNINGS)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", WARNINGS}


@pytest.mark.parametrize(
    "log", ["vllm.log", "rewards/mine.log", "rewards/mine-1.log", "console.log"]
)
@pytest.mark.parametrize("said", ["no room", ""])
def test_what_a_server_or_a_reward_has_said_stays(said: str, log: str, alone: Path) -> None:
    with (
        pytest.raises(UserError),
        fresh_folder.unnamed(Config()) as name,
        fresh_folder.held(Path(name), lambda: 0),
    ):
        (Path(name) / "config.yaml").touch()
        (Path(name) / log).parent.mkdir(exist_ok=True)
        (Path(name) / log).write_text(said)
        raise REFUSED
    left = {str(path.relative_to(name)) for path in Path().rglob("*") if path.is_file()}
    assert left == ({"config.yaml", log} if said else set())


@pytest.mark.parametrize(("error", "steps"), [(REFUSED, 1), (ZeroDivisionError(), 0)])
def test_a_run_that_took_a_step_and_a_bug_leave_everything(
    error: Exception, steps: int, tmp_path: Path
) -> None:
    attempt(tmp_path / "run", error, steps)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "metrics.jsonl"}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which nothing is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin_unnamed(error: BaseException, steps: int = 0, *names: str) -> list[str]:
    """End a run that names no folder by an error, and return what is left of it."""
    with (
        pytest.raises(type(error)),
        fresh_folder.unnamed(Config()) as name,
        fresh_folder.held(Path(name), lambda: steps),
    ):
        for file in ("config.yaml", *names):
            (Path(name) / file).write_text("{}")
        raise error
    return sorted(path.name for path in Path().rglob("*") if path.is_file())


def test_a_refused_run_leaves_no_folder_that_was_made_to_name_it(alone: Path) -> None:
    assert begin_unnamed(REFUSED) == []
    assert not list(alone.iterdir())
    (alone / "runs").mkdir()
    assert begin_unnamed(REFUSED) == []
    assert list(alone.iterdir()) == [alone / "runs"]


@pytest.mark.parametrize("error", [REFUSED, KeyboardInterrupt(), ZeroDivisionError()])
def test_an_unnamed_run_that_ends_before_it_holds_its_folder_leaves_none(
    error: BaseException, alone: Path
) -> None:
    with pytest.raises(type(error)), fresh_folder.unnamed(Config()):
        raise error
    assert not list(alone.iterdir())


@pytest.mark.parametrize(
    ("error", "steps", "names"),
    [
        (REFUSED, 1, ["config.yaml", "metrics.jsonl"]),
        (REFUSED, 0, ["config.yaml", WARNINGS]),
        (ZeroDivisionError(), 0, ["config.yaml"]),
    ],
)
def test_an_unnamed_run_leaves_what_a_named_one_does(
    error: BaseException, steps: int, names: list[str], alone: Path
) -> None:
    assert begin_unnamed(error, steps, *names) == names
