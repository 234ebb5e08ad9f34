"""Where shipped files lie: inside the package in a wheel, YAML beside it in a checkout."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from vrft.errors import UserError

PACKAGE = Path(__file__).resolve().parent

EMBEDDED = {
    "demo": PACKAGE / "demo" / "model",
    **{
        f"demo-{path.parent.name}": path.parent
        for path in PACKAGE.glob("demo/models/*/config.json")
    },
}
"""Models that are shipped with the package, by the name that stands for their folder."""


LAUNCH = "accelerate/"
"""Where configurations of ``accelerate launch`` lie, which are none of ours."""


def model(name: str) -> str:
    """The folder that a model's name stands for; any other name is a hub id or a folder itself.

    Raises UserError for ``smollm2`` before it has been made.
    """
    if name != "smollm2":
        return str(EMBEDDED.get(name, name))
    if not smollm2().is_dir():
        raise UserError("model smollm2: not made yet; run `python -m vrft.demo.smollm2` once")
    return str(smollm2())


def smollm2() -> Path:
    """Where ``python -m vrft.demo.smollm2`` puts its model: in $VRFT_CACHE, or ~/.cache/vrft."""
    cache = os.environ.get("VRFT_CACHE") or Path.home() / ".cache" / "vrft"
    return Path(cache) / "smollm2-135m-instruct"


def shipped(kind: str) -> Path:
    """The folder of shipped files of a kind: "configs" or "benchmarks"."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def names(kind: str) -> list[str]:
    """The names of all shipped files of a kind, such as "demo/lisa_grounding", sorted."""
    root = shipped(kind)
    names = (p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith(LAUNCH))


def find(kind: str, name: str) -> Path:
    """The file behind ``name``: a path to a YAML file, or the name of a shipped one.

    Raises UserError with the nearest shipped name if there is neither.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise UserError(f"{kind}: no file {name}; give the path of a YAML file or a shipped name")
    path = shipped(kind) / f"{name}.yaml"
    if path.is_file():
        return path
    raise UserError(f"{kind}: unknown name {name!r}; {suggest(name, names(kind))}")


def suggest(word: str, known: list[str]) -> str:
    """An ending for an error message: the nearest known name, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
