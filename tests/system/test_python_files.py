"""Python files of a user's own: what is imported, and what is refused in a line."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from vrft.errors import UserError
from vrft.system import python_files

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


HELPER = "WORD = {!r}\n\n\nclass Shared:\n    pass\n"
BESIDE = "beside_{}"


@pytest.mark.parametrize(
    ("helper", "code"),
    [
        ("{0}.py", "from {0} import WORD\ndef word(): return WORD"),
        ("{0}.py", "def word():\n    import {0}\n    return {0}.WORD"),  # only when it is called
        ("{0}/inner.py", "from {0}.inner import WORD\ndef word(): return WORD"),
        ("{0}/inner.py", "from {0} import inner\ndef word(): return inner.WORD"),
        # which is imported by what is imported
        ("{0}/__init__.py", "import first_{0}\ndef word(): return first_{0}.word()"),
    ],
)
def test_a_file_whose_imports_were_edited_is_imported_anew_by_the_next_command(
    helper: str, code: str, file: Path
) -> None:
    name = BESIDE.format(file.stem)
    place = file.parent / helper.format(name)
    place.parent.mkdir(exist_ok=True)
    first = f"from {name} import WORD\ndef word(): return WORD"
    (file.parent / f"first_{name}.py").write_text(first)
    file.write_text(code.format(name))
    for word in ("one", "two"):  # of equal size, within a second: compiled files look alike
        place.write_text(HELPER.format(word))
        python_files.forget_changed()
        assert python_files.load(file, "task").word() == word
    # A run that is under way keeps what it has begun with, and so do commands without an edit.
    module = sys.modules[file.stem]
    python_files.forget_changed()
    assert python_files.load(file, "task") is module
    place.write_text(HELPER.format("six"))
    assert python_files.load(file, "task") is module
    assert module.word() == "two"


def test_an_edited_file_is_imported_anew_and_pickled_as_it_is_now(file: Path) -> None:
    old = python_files.load(file, "task").Word
    file.write_text(CODE.replace("text: str", "text: int"))
    python_files.forget_changed()
    new = python_files.load(file, "task").Word
    assert new is not old and new.__annotations__ == {"text": int}
    assert pickle.loads(pickle.dumps(new(3))) == new(3)


def test_a_file_that_was_imported_by_itself_before_an_edit_is_imported_anew(file: Path) -> None:
    sys.path.append(str(file.parent))
    before = __import__(file.stem).Word
    file.write_text(CODE.replace("text: str", "text: str = 'yes'"))
    assert python_files.load(file, "task").Word().text == "yes"
    assert before is not sys.modules[file.stem].Word


def test_files_of_a_folder_share_what_they_import_after_an_edit_too(file: Path) -> None:
    name = BESIDE.format(file.stem)
    (file.parent / f"{name}.py").write_text(HELPER.format("one"))
    other = file.with_name(f"other_{file.name}")
    for each in (file, other):
        each.write_text(f"from {name} import Shared\n")
    for _ in range(2):
        python_files.forget_changed()
        both = [python_files.load(each, "task").Shared for each in (file, other)]
        assert both[0] is both[1]
        other.write_text(f"from {name} import Shared\nedited = True\n")


def test_a_file_that_was_corrected_is_imported(file: Path) -> None:
    python_files.load(file, "task")
    file.write_text("primary = = 1")
    python_files.forget_changed()
    with pytest.raises(UserError, match="not readable Python"):
        python_files.load(file, "task")
    file.write_text("primary = 'one'")
    assert python_files.load(file, "task").primary == "one"


def test_modules_of_other_folders_stay(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("import json\nimport vrft.boxes\nfrom PIL import Image\n")
    json, boxes = sys.modules["json"], sys.modules["vrft.boxes"]
    for code in ("", "\n"):
        file.write_text(file.read_text() + code)
        python_files.forget_changed()
        python_files.load(file, "task")
    assert sys.modules["json"] is json and sys.modules["vrft.boxes"] is boxes


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
