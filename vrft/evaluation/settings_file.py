"""The file settings.json beside predictions: what made the answers, and whether it is the same.

The answers of two different evaluations never end up in one file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft.config import coercion
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation.benchmark import Benchmark
from vrft.evaluation.fingerprint import CHANGED
from vrft.system import durable

SETTINGS = "settings.json"

WORDS = (
    "title",
    "paper",
    "paper_by_metric",
    "data",
    "paper_samples",
    "other_data",
    "other_decoding",
    "on_bad_picture",
)
"""The fields of a benchmark on which no answer depends."""

READ_BY = ("data_dir", "allow_outside", "columns", "config", "data_format", "encoding", "rows")
"""The settings of tasks that say where their data lie and how they are read."""

PLACES = frozenset(
    (
        *("benchmark.name", "benchmark.split", "benchmark.task.name"),
        *(f"benchmark.task.settings.{name}" for name in READ_BY),
    )
)
"""The settings that may differ where questions, answers, prompts, pictures and code do not."""

BESIDE = ("fingerprint", "boxes", "notes")
"""The entries of settings.json that say nothing of how answers were asked for."""

ESCAPED = "backslashreplace"
"""How our files hold half a surrogate pair, which UTF-8 cannot: as ``\\ud83d``, in JSON an escape
that reads back as what it was."""

ANEW = "choose another folder, or begin anew with --fresh"


def check_same(folder: Path, settings: Mapping[str, Any], remedy: str = ANEW) -> bool:
    """Return whether the data of the evaluation in ``folder`` now lie in another place.

    Raises UserError if it is another than that of ``settings``. Its line ends with the ``remedy``
    for settings that differ.
    """
    old = read_settings(folder)
    # A folder of an earlier version has no fingerprint that could differ.
    known, now = old.get("fingerprint") or {}, settings.get("fingerprint") or {}
    differ = differences(asked(old), asked(settings))
    same = all(part in known and known[part] == now.get(part) for part in CHANGED)
    for name, was, new in differ:
        if same and name in PLACES:
            continue
        raise UserError(f"{folder}: holds an evaluation with {name}: {was}, not {new}; {remedy}")
    for part, change in CHANGED.items():
        if part in known and part in now and known[part] != now[part]:
            raise UserError(
                f"{folder}: {change} changed since its answers were made; --fresh asks all anew, "
                "another --out keeps them, and `vrft eval --predictions` scores them as they are"
            )
    return bool(differ)


def asked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which answers depend, without the benchmark's words and numbers."""
    tree = {key: value for key, value in settings.items() if key not in BESIDE}
    # A setting that an earlier version did not have was its default.
    for key, cls in (("benchmark", Benchmark), ("model", ModelConfig)):
        if isinstance(tree.get(key), Mapping):
            tree[key] = with_defaults(tree[key], coercion.to_plain(cls()))
    if isinstance(tree.get("benchmark"), Mapping):
        benchmark = tree["benchmark"].items()
        tree["benchmark"] = {key: value for key, value in benchmark if key not in WORDS}
    return tree


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that made the predictions in ``folder``.

    Raises UserError if its settings.json is missing or holds no settings.
    """
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: not found; for answers of another tool give a folder of their own to "
            "`vrft eval --benchmark NAME --predictions FILE --out DIR`"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON; delete the folder and evaluate again") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected settings by name, got {type(settings).__name__}")
    return settings


def with_defaults(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of those that are not there, at any depth."""
    filled = {**defaults, **tree}
    for key, value in tree.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping):
            filled[key] = with_defaults(value, defaults[key])
    return filled


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Sequence[tuple[str, Any, Any]]:
    """Return (dotted name, old value, new value) of every setting in which the two differ."""
    differing: list[tuple[str, Any, Any]] = []
    for key in {**old, **new}:  # all names, in order
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differing.extend(differences(a, b, f"{prefix}{key}."))
        elif a != b:
            differing.append((prefix + key, a, b))
    return differing


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, never seen half-written under its name."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    durable.write_text(path, text, errors=ESCAPED)
