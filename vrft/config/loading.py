"""Configurations from YAML files and ``key.path=value`` settings, and back to YAML.

Order, later wins: the defaults of the schema, the row of the algorithm (``vrft.config.methods``),
the file that ``extends`` names, the YAML file, then ``key.path=value`` from the command line.

Spelling: a setting is given by its path. A scalar given to the section ``task``, ``model`` or
``algorithm`` sets its ``name``: ``model=Qwen/Qwen2-VL-2B-Instruct`` is ``model.name=...``. A task's
own settings stand beside its name, ``task.data_dir=...``; those that are about data may also be
given as ``data.columns.image=img``, short for ``task.columns.image=img``, and ``data.format`` and
``data.boxes`` are ``task.data_format`` and ``task.box_unit``; ``data.on_bad_picture`` is the run's,
whatever the task. The mapping ``task.settings``, in which the resolved config.yaml writes them, is
read as well.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vrft import paths
from vrft.config import coercion, methods, yaml_text
from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import Config, DataConfig
from vrft.errors import UserError

DATA_NAMES = {"format": "data_format", "boxes": "box_unit"}
"""Settings below ``data`` -> the task's: its ``format`` is that of answers, its ``boxes`` a method.
"""

DATA_OF_RUN = frozenset(field.name for field in dataclasses.fields(DataConfig))
"""Settings below ``data`` that are the run's own, and no task's."""

UNSAFE = re.compile(r"[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Letters that YAML does not take as they stand, or takes for the end of a line."""


def load(source: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Load a YAML file or a shipped configuration, then ``key.path=value`` overrides.

    Raises UserError that names the setting and its nearest known name or its expected type.
    """
    tree: dict[str, Any] = {} if source is None else read(paths.find("configs", source))
    # The overrides are one layer: algorithm=grpo does not discard an algorithm.beta given before.
    given: dict[str, Any] = {}
    for override in overrides:
        given = merge(given, parse_override(override))
    tree = lay_over(tree, given)
    algorithm = tree.get("algorithm")
    if isinstance(algorithm, Mapping):  # else its defaults hold, or building it says what is wrong
        row = methods.settings(str(algorithm.get("name", AlgorithmConfig.name)))
        tree["algorithm"] = merge(row, algorithm)
    return coercion.build(Config, tree)


def lay_over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``high`` over ``low`` without handing settings of one algorithm on to another.

    Where ``high`` names another algorithm, only ``methods.COMMON`` of the lower settings stay: a
    file's ``alpha`` for GPG is no wish for GRPO.
    """
    old, new = low.get("algorithm"), high.get("algorithm")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = old.get("name", AlgorithmConfig.name)
        if new.get("name", name) != name:
            common = {key: value for key, value in old.items() if key in methods.COMMON}
            low = {**low, "algorithm": common}
    return merge(low, high)


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read the settings of a YAML file, laid over those of the file that its ``extends`` names.

    ``extends`` is a path relative to the file, or a shipped name. Raises UserError for a circle of
    files; ``seen`` are those that have led here.
    """
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself; remove one of the `extends` lines")
    tree = yaml_text.read(path)
    if not isinstance(tree, dict | None):
        raise UserError(f"{path}: expected `key: value` lines, got {type(tree).__name__}")
    tree = expand(tree or {})  # an empty file is None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    relative = path.parent / str(parent)
    parent_path = relative if relative.is_file() else paths.find("configs", str(parent))
    return lay_over(read(parent_path, (*seen, path.resolve())), tree)


def parse_override(text: str) -> dict[str, Any]:
    """Parse ``a.b=value`` into a nested mapping, with the value read as YAML, a text as it stands.

    Raises UserError for a text without a key or an equals sign, and as ``yaml_text.parse_typed``.
    """
    key, equals, value = text.partition("=")  # at the first: a value may hold more of them
    if not equals or not key.strip():
        raise UserError(f"{text!r}: settings are given as key.path=value")
    # YAML reads nothing as null; after the equals sign it is meant as an empty text.
    tree: Any = yaml_text.parse_typed(value, f"{text!r:.100}") if value else ""
    parts = key.strip().split(".")
    if len(parts) > yaml_text.DEEPEST:
        raise UserError(f"{text!r:.100}: a path of {len(parts)} keys; no setting lies so deep")
    for part in reversed(parts):
        tree = {part: tree}
    return expand(tree)


def to_override(path: str, value: Any) -> str:
    """Return ``path=value`` for a value of JSON, which ``parse_override`` reads back to the same.

    Raises TypeError for a value that JSON cannot hold.
    """

    def escaped(letter: re.Match[str]) -> str:
        return f"\\u{ord(letter[0]):04x}"

    # JSON's escapes of an emoji are two letters to YAML, so that it stands as it is.
    return f"{path}={UNSAFE.sub(escaped, json.dumps(value, ensure_ascii=False))}"


def expand(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite the short spellings as the schema's: see "Spelling" at the top of this module."""
    tree = dict(tree)
    for section in ("task", "model", "algorithm"):
        if isinstance(tree.get(section), str):
            tree[section] = {"name": tree[section]}
    if isinstance(tree.get("data"), Mapping):
        data = tree.pop("data")
        own = {key: value for key, value in data.items() if key in DATA_OF_RUN}
        tree |= {"data": own} if own else {}
        about = {DATA_NAMES.get(key, key): data[key] for key in data if key not in own}
        tree = merge({"task": about}, tree) if about else tree
    task = tree.get("task")
    # A `settings` of another type stays where it is, and is refused when the schema is built.
    if isinstance(task, Mapping) and isinstance(task.get("settings"), Mapping | None):
        own = {key: value for key, value in task.items() if key not in ("name", "settings")}
        # No name where none is given, or it would be laid over the file's.
        name = {"name": task["name"]} if "name" in task else {}
        tree["task"] = name | {"settings": {**(task.get("settings") or {}), **own}}
    return tree


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``high`` laid over ``low``: mappings key by key, any other value as a whole."""
    merged = dict(low)
    for key, value in high.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def flat(config: Config) -> dict[str, str | int | float | bool | None]:
    """Return every setting by its path, as the hyper-parameters that a tracker shows.

    A task's own settings stand beside its name. Lists and empty mappings, for which trackers have
    no type, are texts of JSON.
    """
    tree = coercion.to_plain(config)
    tree["task"] = {"name": config.task.name} | tree["task"]["settings"]
    leaves: dict[str, Any] = {}

    def walk(prefix: str, branch: Mapping[str, Any]) -> None:
        for key, value in branch.items():
            if isinstance(value, Mapping) and value:
                walk(f"{prefix}{key}.", value)
            else:
                text = isinstance(value, list | Mapping)
                leaves[prefix + key] = json.dumps(value, ensure_ascii=False) if text else value

    walk("", tree)
    return leaves


def to_yaml(config: Config) -> str:
    """Return the configuration as YAML, which ``load`` reads back to an equal one."""
    return yaml.safe_dump(coercion.to_plain(config), sort_keys=False, allow_unicode=True)
