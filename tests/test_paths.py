"""Shipped files are found by name, a user's own by path."""

from pathlib import Path

import pytest

from vrft import paths
from vrft.errors import UserError


def test_shipped_configurations_have_names_with_their_folder() -> None:
    assert "lisa_grounding" in paths.names("configs")
    assert "demo/lisa_grounding" in paths.names("configs")
    assert not any("accelerate" in name for name in paths.names("configs"))


def test_a_shipped_name_is_found() -> None:
    assert paths.find("configs", "demo/lisa_grounding").is_file()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "mine.yml"
    own.write_text("task: x\n")
    assert paths.find("configs", str(own)) == own


@pytest.mark.parametrize(
    ("name", "message"),
    [
        # close to a shipped name
        (
            "lisa_groundin",
            r"configs: unknown name 'lisa_groundin'; did you mean 'lisa_grounding'\?",
        ),
        # close to nothing: all are listed
        ("zzz", r"unknown name 'zzz'; known: .*demo/lisa_grounding, .*lisa_grounding"),
        # a path that is not there
        ("nowhere/mine.yaml", "no file nowhere/mine.yaml; give the path of a YAML file"),
    ],
)
def test_what_cannot_be_found_is_said_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        paths.find("configs", name)


def test_files_inside_the_package_come_before_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "vrft"
    monkeypatch.setattr(paths, "PACKAGE", package)
    assert paths.shipped("configs") == tmp_path / "configs"  # a checkout
    (package / "configs").mkdir(parents=True)
    assert paths.shipped("configs") == package / "configs"  # a wheel


def test_suggestions_for_an_empty_list_say_none() -> None:
    assert paths.suggest("x", []) == "known: none"
