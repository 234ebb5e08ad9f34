"""Python files of a user's own: what is imported, and what is refused in a line."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from vrft import python_files
from vrft.errors import UserError

CODE = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    text: str
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a module under a name of its own; import state is restored afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / f"words_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(CODE)
    return path


def test_a_file_is_the_module_of_its_stem(file: Path) -> None:
    module = python_files.load(file, "task")
    assert module.__name__ == file.stem and sys.modules[file.stem] is module
    assert pickle.loads(pickle.dumps(module.Word("yes"))) == module.Word("yes")
    assert python_files.load(file, "reward") is module
    # its folder comes last, once, so that it hides no installed module
    assert sys.path[-1] == str(file.parent) and sys.path.count(sys.path[-1]) == 1


@pytest.mark.parametrize(
    ("kind", "more"), [("task", "give a Python file or the name of a task"),
                       ("reward", "give a Python file")],
)  # fmt: skip
def test_a_file_that_is_missing_is_told_with_what_may_be_given(
    kind: str, more: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"^no {kind} file .*none\.py; {more}$"):
        python_files.load(tmp_path / "none.py", kind)  # type: ignore[arg-type]


def test_a_file_named_like_another_module_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "json.py"
    path.write_text(CODE)
    with pytest.raises(UserError, match=r"another module is called json; rename the file"):
        python_files.load(path, "task")


def test_a_file_that_python_cannot_import_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my-task.py"
    path.write_text(CODE)
    with pytest.raises(UserError, match=r"needs a name that Python can import"):
        python_files.load(path, "task")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import not_a_module", "cannot be imported .*not_a_module.*; install it"),
        ("from .helper import x", "cannot be imported .*relative.*from helper import x"),
        ("import sys; sys.exit(3)", r"ends Python when it is imported \(status 3\)"),
        ("primary = = 1", r"line 1: not readable Python \(invalid syntax\)"),
    ],
)
def test_a_file_whose_import_fails_is_one_line(code: str, message: str, file: Path) -> None:
    file.write_text(f"{code}\n{CODE}")
    with pytest.raises(UserError, match=rf"{file.stem}\.py: {message}") as caught:
        python_files.load(file, "task")
    assert "\n" not in str(caught.value)


def test_a_bug_in_a_file_keeps_its_traceback(file: Path) -> None:
    file.write_text(f"1 / 0\n{CODE}")
    with pytest.raises(ZeroDivisionError):
        python_files.load(file, "task")
