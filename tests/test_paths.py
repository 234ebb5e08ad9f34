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


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        # plain names stay as they are, spaces included
        (["lisa_test", "Qwen", "Qwen2-VL-2B"], "lisa_test-Qwen-Qwen2-VL-2B"),
        (["cvbench", "my run", "first3"], "cvbench-my run-first3"),
        # no part leads out of the folder, on Windows neither
        (["a", "/", "..", "..", "etc"], "a-etc"),
        (["a", "..\\..\\etc", "C:\\x"], "a-\\..\\etc-C:\\x".replace("\\", "_")),
        # NUL, line ends, half a character
        (["a", "b\0c\nd\x1b[2Je", "\ud83d"], "a-b_c_d_[2Je-_"),
        # the two spellings of one letter name one folder
        (["a", "e\u0301"], "a-\u00e9"),
    ],
)
def test_a_folder_is_named_by_what_was_given_and_stays_in_its_parent(
    parts: list[str], name: str
) -> None:
    assert paths.folder_name(parts) == name
    assert len(Path(name).parts) == 1 and name not in (".", "..")


def test_a_long_name_is_cut_and_told_apart_from_its_like(tmp_path: Path) -> None:
    one, other = (paths.folder_name(["bench", "模型" * 200 + end]) for end in "ab")
    assert one != other
    for name in (one, other):
        assert len(name.encode()) <= paths.LONGEST_NAME
        (tmp_path / name).mkdir()


def test_a_tilde_is_home_for_the_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VRFT_CACHE", "~/cache")  # as it stands in a file for Docker
    assert paths.cache() == tmp_path / "cache"
    assert paths.expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
