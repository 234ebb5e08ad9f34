"""Python files of a user's own, with a task or with rewards, as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

from vrft.errors import UserError


def load(path: Path, kind: Literal["task", "reward"]) -> Any:
    """Import the module in a file under the file's stem, so that its classes can be pickled.

    Raises UserError for a file that is not there, for a name that no module can have or another one
    has, and for code that cannot be imported.
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
    module = imported(path)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise UserError(f"{path}: another module is called {path.stem}; rename the file")
    return module


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
