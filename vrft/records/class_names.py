"""Names of classes in place of their numbers, by the hub's description of a file's columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def hub_features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """Return the hub's types of columns from a schema's metadata; {} where there are none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def with_classes(features: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns that hold numbers of classes, at any depth."""
    return {name: kind for name, kind in features.items() if '"ClassLabel"' in json.dumps(kind)}


def name_classes(row: Mapping[str, Any], features: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with the names of classes in place of their numbers."""
    if not features:
        return row
    return {name: named(value, features.get(name)) for name, value in row.items()}


def named(value: Any, feature: Any) -> Any:
    """Return a value with names for numbers of classes, by the hub's description of its type.

    Raises ValueError for a number without a name; -1 is the hub's number of no class.
    """
    if isinstance(feature, list) and feature:  # an older form of {"_type": "Sequence"}
        feature = {"_type": "Sequence", "feature": feature[0]}
    if value is None or not isinstance(feature, Mapping):
        return value
    inner = feature.get("feature")
    match feature.get("_type"), value:
        case "ClassLabel", int():
            names = feature.get("names") or []
            if value < -1 or (names and value >= len(names)):
                raise ValueError(f"class {value} of {len(names)}")
            return None if value == -1 else names[value] if names else value
        case "Sequence" | "List" | "LargeList", list():
            return [named(item, inner) for item in value]
        case "Sequence" | "List" | "LargeList", dict() if isinstance(inner, Mapping):
            # A list of objects is stored as an object of lists.
            return {k: named(items, [inner.get(k)]) for k, items in value.items()}
        case None, dict():
            return {k: named(item, feature.get(k)) for k, item in value.items()}
    return value
