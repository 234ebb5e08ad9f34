import dataclasses
from typing import Any

import pytest
import yaml

from vrft import paths
from vrft.config.json_schema import json_schema, of_type
from vrft.config.schema import Config


def entry(path: str) -> dict[str, Any]:
    """Return the schema of a setting by its path."""
    tree: dict[str, Any] = json_schema()
    for name in path.split("."):
        tree = tree["properties"][name]
        tree = tree["anyOf"][1] if "properties" in tree.get("anyOf", [{}] * 2)[1] else tree
    return tree


def test_a_setting_has_its_type_limits_default_and_words() -> None:
    rate = entry("train.learning_rate")
    assert (rate["type"], rate["minimum"], rate["default"]) == ("number", 0, 1e-6)
    steps = entry("train.save_steps")
    assert steps["type"] == "integer" and steps["description"].startswith("Write a checkpoint")
    assert entry("sampling.top_p")["exclusiveMinimum"] == 0
    assert entry("algorithm.f_norm")["enum"] == ["group_std", "none", "batch_std"]
    assert entry("model.lora.r")["type"] == "integer"
    assert entry("model.max_pixels")["anyOf"][1] == {"type": "null"}


def undescribed(tree: dict[str, Any], path: str = "") -> list[str]:
    """Return the settings below a group that say nothing of themselves, by their paths."""
    lacking = []
    for name, entry in tree["properties"].items():
        groups = [option for option in entry.get("anyOf", [entry]) if "properties" in option]
        lacking += [at for group in groups for at in undescribed(group, f"{path}{name}.")]
        if not groups and not entry.get("description"):
            lacking.append(path + name)
    return lacking


def test_every_setting_says_what_it_is() -> None:
    # Editors show it, and docs/site makes the page of settings of the same texts.
    assert undescribed({"properties": {"a": {}, "b": {"properties": {"c": {}}}}}) == ["a", "b.c"]
    assert undescribed(json_schema()) == []


def test_a_task_brings_settings_of_its_own_and_no_other_group_does() -> None:
    assert entry("task")["additionalProperties"] and entry("data")["additionalProperties"]
    assert entry("train")["additionalProperties"] is False


def test_every_group_of_a_configuration_is_there() -> None:
    names = {field.name for field in dataclasses.fields(Config)}
    assert set(json_schema()["properties"]) == names | {"extends"}


def known(tree: Any, schema: dict[str, Any]) -> bool:
    """Return whether every key of a file is one of the schema's: all that this test needs of it."""
    options = schema.get("anyOf", [schema])
    if not isinstance(tree, dict):
        return any("properties" not in option for option in options)
    return any(
        all(
            known(value, option["properties"][key])
            if key in option["properties"]
            else option.get("additionalProperties", True)
            for key, value in tree.items()
        )
        for option in options
        if "properties" in option
    ) or any(option.get("type") == "object" and "properties" not in option for option in options)


@pytest.mark.parametrize("name", paths.names("configs"))
def test_every_shipped_configuration_is_one(name: str) -> None:
    tree = yaml.safe_load(paths.find("configs", name).read_text(encoding="utf-8"))
    assert known(tree, json_schema())


def test_a_misspelt_setting_is_none() -> None:
    assert not known({"train": {"learning_rat": 1}}, json_schema())
    assert known({"task": {"name": "vqa", "kind": "text"}}, json_schema())


def test_a_list_may_be_a_single_item() -> None:
    assert of_type(tuple[str, ...])["anyOf"][1] == {"type": "string"}
