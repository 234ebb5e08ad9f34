"""Configurations from YAML files and ``key.path=value`` settings, and back to YAML.

Order, later wins: the defaults of the schema, the row of the algorithm (``vrft.config.methods``),
the file that ``extends`` names, the YAML file, then ``key.path=value`` from the command line. A
scalar given to a section sets its ``name``: ``model=Qwen/Qwen2-VL-2B-Instruct`` is
``model.name=...``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vrft import paths
from vrft.config import coercion, methods
from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import Config
from vrft.errors import UserError


def load(source: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """The configuration from a YAML file or shipped name, then ``key.path=value`` overrides.

    Raises UserError that names the setting and its nearest known name or its expected type.
    """
    tree: dict[str, Any] = {}
    if source is not None:
        tree = read(paths.find("configs", source))
    given: dict[str, Any] = {}
    for override in overrides:
        given = merge(given, parse_override(override))
    tree = lay_over(tree, given)
    algorithm = tree.get("algorithm")
    if isinstance(algorithm, Mapping):
        row = methods.settings(str(algorithm.get("name", AlgorithmConfig.name)))
        tree["algorithm"] = merge(row, algorithm)
    return coercion.build(Config, tree)


def lay_over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``merge``, except that settings of one algorithm are not passed on to another.

    What is no matter of the algorithm stays: see ``methods.COMMON``.
    """
    old, new = low.get("algorithm"), high.get("algorithm")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = old.get("name", AlgorithmConfig.name)
        if new.get("name", name) != name:
            kept = {key: value for key, value in old.items() if key in methods.COMMON}
            low = {**low, "algorithm": kept}
    return merge(low, high)


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, laid over the one that its ``extends`` names.

    ``extends`` is a shipped name, or a path relative to the file.
    """
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself; remove one of the `extends` lines")
    tree = read_yaml(path)
    parent = tree.pop("extends", None)
    if parent is None:
        return expand(tree)
    relative = path.parent / str(parent)
    parent_path = relative if relative.is_file() else paths.find("configs", str(parent))
    return lay_over(read(parent_path, (*seen, path.resolve())), expand(tree))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in one YAML file; UserError for a file that is none."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tree, dict | None):
        raise UserError(f"{path}: expected `key: value` lines, got {type(tree).__name__}")
    return tree or {}


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as a nested mapping; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{text!r}: settings are given as key.path=value")
    try:
        tree: Any = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise UserError(f"{text!r}: the value is not readable YAML; quote it") from error
    for part in reversed(key.strip().split(".")):
        tree = {part: tree}
    return expand(tree)


def expand(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A scalar for a whole section becomes its name; a task's settings move under ``settings``.

    ``data.columns.image=img`` is short for ``task.columns.image=img``.
    """
    tree = dict(tree)
    for section in ("task", "model", "algorithm"):
        if isinstance(tree.get(section), str):
            tree[section] = {"name": tree[section]}
    if isinstance(tree.get("data"), Mapping):
        tree = merge({"task": tree.pop("data")}, tree)
    task = tree.get("task")
    if isinstance(task, Mapping) and isinstance(task.get("settings"), Mapping | None):
        own = {k: v for k, v in task.items() if k not in ("name", "settings")}
        name = {"name": task["name"]} if "name" in task else {}
        tree["task"] = name | {"settings": {**(task.get("settings") or {}), **own}}
    return tree


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``high`` laid over ``low``, mapping by mapping."""
    out = dict(low)
    for key, value in high.items():
        old = out.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        out[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return out


def flat(config: Config) -> dict[str, str | int | float | bool | None]:
    """Return every setting by its path, as ``key.path=value`` would give it: for trackers.

    A task's own settings stand under ``task.``; lists and empty mappings are JSON texts.
    """
    tree = coercion.to_plain(config)
    tree["task"] = {"name": config.task.name, **tree["task"]["settings"]}
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
    """The configuration as YAML that ``load`` reads back to an equal one."""
    return yaml.safe_dump(coercion.to_plain(config), sort_keys=False, allow_unicode=True)
