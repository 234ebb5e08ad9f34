"""Python files of a user's own, with a task or with rewards, as modules."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from vrft.errors import UserError

IMPORTED: dict[Path, dict[str, str]] = {}
"""File that was loaded -> the modules of its folder that make it up, with hashes of their files."""

OURS = ("vrft", "vrft_tasks")
"""Packages that are no user's, though a file may lie beside them."""


def load(path: Path, kind: Literal["task", "reward"]) -> Any:
    """Import the module in a file under the file's stem, so that its classes can be pickled.

    Raises UserError for a file that is not there, for a name that no module can have or another one
    has, and for code that cannot be imported.

    A file that is loaded again is the module that it was: a run must not change under way. At the
    start of a command, ``forget_changed`` lets files that were edited be imported anew.
    """
    if not path.is_file():
        other = " or the name of a task" if kind == "task" else ""
        raise UserError(f"no {kind} file {path}; give a Python file{other}")
    if not path.stem.isidentifier():
        raise UserError(
            f"{path}: a {kind} file needs a name that Python can import, as my_{kind}.py"
        )
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # Last, so that no file beside the task hides an installed module. Worker processes inherit
        # sys.path and can import the task by its name.
        sys.path.append(folder)
    place, made = path.resolve(), parts(path.resolve())
    if place not in IMPORTED:
        # A notebook that has imported the file itself may have done so before an edit. What files
        # beside this one have loaded is theirs too.
        shared = {name for other, own in IMPORTED.items() if other.parent == place.parent
                  for name in own}  # fmt: skip
        forget(place, made.keys() - shared)
    module = imported(path)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise UserError(f"{path}: another module is called {path.stem}; rename the file")
    IMPORTED.setdefault(place, made)
    return module


def forget_changed() -> None:
    """Let the files that have been edited since they were loaded be imported anew.

    A file has changed with any module of its own folder that it imports, at the top or anywhere in
    its code. Files of one folder may share such modules, and are imported anew together.
    """
    changed = {place.parent for place, before in IMPORTED.items() if parts(place) != before}
    for place in [place for place in IMPORTED if place.parent in changed]:
        forget(place, IMPORTED.pop(place).keys() | parts(place).keys())


def forget(place: Path, names: Iterable[str]) -> None:
    """Take modules of a file's folder out of those that Python has imported."""
    for name in names:
        module = sys.modules.get(name)
        if module is None or not belongs(module, name, place.parent):
            continue
        del sys.modules[name]
        with suppress(OSError, NotImplementedError):
            # Python tells compiled files apart by seconds and sizes: an edit may be within both.
            Path(importlib.util.cache_from_source(module.__file__ or "")).unlink(missing_ok=True)
    importlib.invalidate_caches()


def belongs(module: Any, name: str, folder: Path) -> bool:
    """Return whether a module, or a package without a file, is the one of its name in a folder."""
    file = getattr(module, "__file__", None)
    if file is not None:
        return Path(file).resolve() in files_of(name, folder)
    inside = [Path(each).resolve() for each in getattr(module, "__path__", ())]
    return folder.joinpath(*name.split(".")) in inside


def files_of(name: str, folder: Path) -> list[Path]:
    """Return the files in a folder that a module of this name may have."""
    place = folder.joinpath(*name.split("."))
    return [place.with_name(f"{place.name}.py"), place / "__init__.py"]


def parts(place: Path) -> dict[str, str]:
    """Return the modules of a file's folder that make it up, itself among them, with hashes.

    Those are the modules that it imports anywhere in its code, and what these import. The hash of a
    package without a file is "".
    """
    folder, hashes, left = place.parent, dict[str, str](), [place.stem]
    while left:
        name = left.pop()
        if name in hashes or name.partition(".")[0] in OURS:
            continue
        file = next((each for each in files_of(name, folder) if each.is_file()), None)
        if file is None:
            if folder.joinpath(*name.split(".")).is_dir():
                hashes[name] = ""
            continue
        code = file.read_bytes() if os.access(file, os.R_OK) else b""
        hashes[name] = hashlib.sha256(code).hexdigest()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        left += named_imports(code, package)
    return hashes


def named_imports(code: bytes, package: str) -> Iterator[str]:
    """Yield the modules that a module's code imports, packages above them too.

    What may be a module of a package is named also: after ``from a import b`` that is a.b. Code
    that cannot be read, which importing refuses, has none.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = [*(above if node.level else []), *(node.module or "").split(".")]
            stem = ".".join(filter(None, base))
            names = [f"{stem}.{alias.name}" for alias in node.names]
        for name in names:
            steps = name.split(".")
            yield from (".".join(steps[:end]) for end in range(1, len(steps) + 1))


def imported(path: Path) -> Any:
    """Import the module of a file; raise UserError in one line for one that cannot be imported.

    An error of another kind in its code keeps its traceback.
    """
    try:
        return importlib.import_module(path.stem)
    except SyntaxError as error:
        where = f"{error.filename or path}: line {error.lineno}"
        raise UserError(f"{where}: not readable Python ({error.msg}); correct it") from error
    except ImportError as error:
        relative = "relative import" in str(error)
        remedy = (
            "name a file beside it by itself, as in `from helper import x`"
            if relative
            else "install it, or put its file beside this one"
        )
        raise UserError(f"{path}: cannot be imported ({error}); {remedy}") from error
    except SystemExit as error:
        raise UserError(
            f"{path}: ends Python when it is imported (status {error.code}); put what is no "
            'definition below `if __name__ == "__main__":`'
        ) from error
