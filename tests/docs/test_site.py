"""The pages that the documentation's site makes from the code; `make docs` builds all of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
import types
from types import ModuleType

import pytest
import yaml
from fakes.folders import ROOT

from vrft import registry
from vrft.cli import task_settings
from vrft.config import schema


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load docs/site/generated.py, which needs of mkdocs the names of three classes only."""
    for name, classes in {
        "mkdocs.config.defaults": ("MkDocsConfig",),
        "mkdocs.structure.files": ("File", "Files"),
    }.items():
        stub = types.ModuleType(name)
        for cls in classes:
            setattr(stub, cls, type(cls, (), {}))
        monkeypatch.setitem(sys.modules, name, stub)
    path = ROOT / "docs" / "site" / "generated.py"
    spec = importlib.util.spec_from_file_location("generated", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_has_a_row_with_its_default(generated: ModuleType) -> None:
    page = generated.settings_page()
    assert "| `train.learning_rate` | `1e-06` |" in page
    assert "| `model.lora.r` | `0` |" in page
    groups = dict(generated.groups(schema.Config))
    assert {"train", "model.lora", "rollout.vllm", "algorithm.critic"} <= set(groups)
    for path, group in groups.items():
        for field in dataclasses.fields(group):
            nested = f"{path}.{field.name}" in groups
            assert nested or f"| `{path}.{field.name}` |" in page


def test_every_setting_of_every_task_has_a_row(generated: ModuleType) -> None:
    page = generated.settings_page()
    for name in registry.names():
        _, _, part = page.partition(f"\n### {name}\n")
        rows = part.partition("\n### ")[0].splitlines()[3:]
        settings = task_settings.settings_of(registry.task_class(name))
        assert len(rows) == len(settings) > 3
        for row, setting in zip(rows, settings, strict=True):
            assert row.startswith(f"| `{setting.path}` |") and len(re.split(r"(?<!\\)\|", row)) == 6


def test_what_a_setting_says_of_itself_stands_beside_it(generated: ModuleType) -> None:
    remarks = generated.remarks(schema.TrainConfig)
    assert remarks["save_steps"].startswith("Write a checkpoint every so many steps")
    # From the comment above it, where there is no text below.
    assert remarks["learning_rate"] == "" or "TRL" in remarks["learning_rate"]
    assert "In bfloat16" not in remarks["max_steps"]


def test_commands_and_names_are_filled_in(generated: ModuleType) -> None:
    page = generated.on_page_markdown("<!-- vrft tasks -->\n<!-- python vrft.boxes.Box -->")
    assert "lisa_grounding" in page and "x1: float" in page and "top left" in page
    assert generated.on_page_markdown("```sh run.sh\n") == '```sh title="run.sh"\n'


def test_a_page_says_in_its_own_text_what_the_site_fills_in() -> None:
    # In the repository, where the README links them, comments are not shown.
    names = []
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        shown = re.sub(r"<!--.*?-->", "", text)
        for command in re.findall(r"<!-- (vrft .+) -->", text):
            assert f"`{command}` prints" in shown, (page, command)
        for name in re.findall(r"<!-- python (.+) -->", text):
            names.append(name)
            module, _, own = name.rpartition(".")
            words = inspect.cleandoc(getattr(importlib.import_module(module), own).__doc__)
            line = words.partition("\n")[0].replace("``", "`")
            assert f"| `{name}` | {line} |" in shown, (page, name)
    assert "vrft.train" in names and "vrft.boxes.Box" in names


def test_every_link_leads_to_a_file_of_the_repository() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tasks" / "README.md"]
    pages += (ROOT / "docs").glob("*.md")
    links = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|src(?:set)?=\"([^\"]+)\"", text):
            link = target[0] or target[1]
            links += 1
            assert "://" in link or (page.parent / link).exists(), (page, link)
    assert links > 30


def test_every_page_is_in_the_site(generated: ModuleType) -> None:
    tree = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed: list[str] = []

    def walk(part: object) -> None:
        if isinstance(part, str):
            listed.append(part)
        elif isinstance(part, dict):
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(tree["nav"])
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages - set(listed) == set() and set(listed) - pages == {"settings.md"}
