"""Places of files: shipped YAML and models by name, and the cache folder."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vrft.errors import UserError

PACKAGE = Path(__file__).resolve().parent

EMBEDDED = {
    "demo": PACKAGE / "demo" / "model",
    # demo/models/counting/config.json is the model "demo-counting"
    **{
        f"demo-{path.parent.name}": path.parent
        for path in PACKAGE.glob("demo/models/*/config.json")
    },
}
"""Name -> folder of every model that is shipped inside the package."""


LONGEST_NAME = 200
"""Bytes of a folder's name; file systems take 255, and files beside it have endings."""

LAUNCH = "accelerate/"
"""The folder of configs/ with files for ``accelerate launch``, which are no runs of ours."""


def cache() -> Path:
    """Return the folder of files that can be made again: $VRFT_CACHE, else ~/.cache/vrft."""
    # The variable may be set to "", which means the same as unset.
    return expanded(os.environ.get("VRFT_CACHE") or "~/.cache/vrft")


def at_home(name: str) -> str:
    """Return a path, or another name, with ``~`` at its beginning written out.

    A shell writes it out in ``--out ~/x``, but neither in ``--out=~/x`` nor in a setting. That of
    an unknown user stays, and leads nowhere.
    """
    return os.path.expanduser(name)  # Path.expanduser raises RuntimeError for an unknown user


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` written out, as ``at_home`` does."""
    return Path(at_home(os.fspath(path)))


def rows() -> Path:
    """Return the folder of the cache for rows that a program gave in Python."""
    return cache().absolute() / "rows"


def model(name: str) -> str:
    """Return the folder of a model with a name of ours; other names are hub ids, left as they are.

    Raises UserError for ``smollm2`` before it has been made.
    """
    if name != "smollm2":
        return str(EMBEDDED.get(name, name))
    if not smollm2().is_dir():
        raise UserError("model smollm2: not made yet; run `python -m vrft.demo.smollm2` once")
    return str(smollm2())


def smollm2() -> Path:
    """Return the folder into which ``python -m vrft.demo.smollm2`` writes its model."""
    return cache() / "smollm2-135m-instruct"


def shipped(kind: str) -> Path:
    """Return the folder of the shipped files of a kind, "configs" or "benchmarks"."""
    # A wheel has them inside the package; in a checkout they lie beside it (see pyproject.toml).
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def names(kind: str) -> list[str]:
    """Return the names of all shipped files of a kind, such as "demo/lisa_grounding", sorted."""
    root = shipped(kind)
    names = (p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(LAUNCH))


def find(kind: str, name: str) -> Path:
    """Return the file that ``name`` means: the path of a YAML file, or the name of a shipped one.

    Raises UserError, with the nearest shipped name, if there is no such file.
    """
    path = expanded(name)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise UserError(f"{kind}: no file {name}; give the path of a YAML file or a shipped name")
    path = shipped(kind) / f"{name}.yaml"
    if path.is_file():
        return path
    raise UserError(f"{kind}: unknown name {name!r}; {suggest(name, names(kind))}")


def folder_name(parts: Iterable[str]) -> str:
    """Return the name of one folder made of names that are given from outside, such as a model's.

    Neither "/" nor ".." in them leads out of the folder's parent. Control characters and
    backslashes become "_", and a name that no file system takes is cut and told apart by a hash.
    """
    kept = [part.strip("/.") for part in parts]
    name = unicodedata.normalize("NFC", "-".join(part for part in kept if part))
    name = re.sub(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]", "_", name)
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    # Bytes of a character that is cut in two are left out.
    return f"{name.encode()[: LONGEST_NAME - 13].decode(errors='ignore')}-{digest}"


def suggest(word: str, known: list[str]) -> str:
    """Return the end of an error message: the known name nearest to ``word``, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
