"""Who imports whom: contracts, circles, tests and their modules, and what starts without torch."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.folders import ROOT

import vrft_tasks

HEAVY = {
    *("torch", "transformers", "datasets", "trl", "accelerate", "peft", "scipy", "pandas"),
    *("math_verify", "sympy"),
}

LIGHT = (
    "vrft",
    *(f"vrft.{path.stem}" for path in sorted((ROOT / "vrft").glob("[!_]*.py"))),
    *(f"vrft.{name}" for name in ("cli", "config", "evaluation")),
    *(f"vrft.checks.{path.stem}" for path in sorted((ROOT / "vrft/checks").glob("[!_]*.py"))),
    *(f"vrft.step_plans.{name}" for name in ("cards", "verdicts")),
    *(f"vrft.evaluation.{name}" for name in ("comparison", "predictions", "report", "stats")),
    *(f"vrft_tasks.{module.name}" for module in pkgutil.iter_modules(vrft_tasks.__path__)),
)


# --- the map


def test_every_room_is_on_the_map_for_contributors() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)/`", "".join(rows)))
    rooms = {path.parent.name for path in (ROOT / "vrft").glob("*/__init__.py")}
    assert named >= rooms, rooms - named


# --- contracts and circles


def test_the_import_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True)
    assert status == 0, capsys.readouterr().out


@functools.cache
def imports(code: str) -> tuple[str, ...]:
    """Return the dotted names that a module imports, at its top and inside functions.

    ``from a import b`` gives "a.b", as b may be a module. Imports for type checkers alone are left
    out: they are never run.
    """
    names: list[str] = []
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return tuple(names)


def modules() -> dict[str, Path]:
    """Return the files of all modules of the repository, tests included, by dotted name."""
    found = {}
    # The folders on sys.path: the checkout, the second source root, and pytest's `pythonpath`.
    for root, package in (
        *((ROOT, name) for name in ("vrft", "benchmarks")),
        (ROOT / "tasks", "vrft_tasks"),
        (ROOT / "tests", "."),
    ):
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def graph(code_of: dict[str, str]) -> dict[str, set[str]]:
    """Return module -> the modules of the same mapping that its code imports.

    A name that is no module, as in ``from vrft.boxes import Box``, counts for the module before it.
    """
    return {
        module: {
            name if name in code_of else name.rpartition(".")[0]
            for name in imports(code)
            if name in code_of or name.rpartition(".")[0] in code_of
        }
        for module, code in code_of.items()
    }


@pytest.mark.parametrize(
    ("code", "circle"),
    [
        # at the top, inside a function, and by the module's package
        ("import b", True),
        ("def f():\n    from b import g", True),
        ("if later:\n    import b", True),
        # another module, a name that only begins alike, and for type checkers alone
        ("import c", False),
        ("import bc", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b", False),
    ],
)
def test_the_probe_sees_a_circle_of_two_modules(code: str, circle: bool) -> None:
    sorter = graphlib.TopologicalSorter(graph({"a": code, "b": "from a import f", "c": ""}))
    if circle:
        with pytest.raises(graphlib.CycleError):
            sorter.prepare()
    else:
        sorter.prepare()


def test_no_modules_of_the_repository_import_each_other_in_a_circle() -> None:
    code = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    # All four kinds are there, and their imports were seen.
    arrows = graph(code)
    assert "vrft.training.step" in arrows["vrft.training.train"]
    assert {"vrft_tasks.math", "benchmarks.publishing", "fakes.bigram"} <= arrows.keys()
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_task_imports_its_own_readers_and_no_other_module_of_the_tasks() -> None:
    code = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    stems = [name.removeprefix("vrft_tasks.") for name in code if name.startswith("vrft_tasks.")]
    tasks = [stem for stem in stems if not stem.startswith("_")]

    def task_of(stem: str) -> str:
        """Return the task of a module: vqa for vqa, _vqa and _vqa_answers."""
        own = f"{stem.removeprefix('_')}_"
        (task,) = [task for task in tasks if own.startswith(f"{task}_")]
        return task

    arrows = graph(code)
    assert "vrft_tasks._math" in arrows["vrft_tasks.math"]
    assert task_of("_vqa_answers") == "vqa"
    for stem in stems:
        for other in arrows[f"vrft_tasks.{stem}"]:
            if other.startswith("vrft_tasks."):
                reader = other.removeprefix("vrft_tasks.")
                assert reader.startswith("_") and task_of(reader) == task_of(stem), (stem, reader)


# --- tests and their modules


def test_every_module_has_its_test_file() -> None:
    missing = []
    for path in (ROOT / "vrft").rglob("[!_]*.py"):
        room = path.parent.relative_to(ROOT / "vrft")
        test = ROOT / "tests" / room / f"test_{path.name}"
        if not test.is_file():
            missing.append(test.relative_to(ROOT).as_posix())
    assert sorted(missing) == []


def test_no_test_imports_another_test() -> None:
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(tests) > 70
    for path in tests:
        for name in imports(path.read_text(encoding="utf-8")):
            parts = name.split(".")
            assert not any(part.startswith("test_") or part == "conftest" for part in parts), path


# --- light modules and commands


def loaded_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh Python has imported after running ``code``."""
    report = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True, cwd="/"
    )
    return {name.split(".")[0] for name in done.stderr.split()}


def test_the_probe_sees_an_import() -> None:
    assert "json" in loaded_after("import json.decoder")
    assert "json" not in loaded_after("")


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_imports_no_torch(module: str) -> None:
    assert HEAVY.isdisjoint(loaded_after(f"import {module}"))


@pytest.mark.parametrize("command", ["train --help", "tasks", "config list", "eval --list"])
def test_a_light_command_imports_no_torch(command: str) -> None:
    assert HEAVY.isdisjoint(loaded_after(run(command)))


def test_help_imports_next_to_nothing() -> None:
    assert {"yaml", "PIL", "numpy", "rich", *HEAVY}.isdisjoint(loaded_after(run("--help")))


def run(command: str) -> str:
    """Return code that runs a command of ``vrft``."""
    return f"from vrft.cli import main\ntry: main({command.split()})\nexcept SystemExit: pass"


def test_every_file_and_module_that_a_page_names_is_there() -> None:
    """Pages outlive moves; only the changelog may name what has gone."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/*.md"),
        ROOT / "tasks" / "README.md",
    ]
    pages += [*ROOT.glob("vrft/**/README.md"), *ROOT.glob("configs/**/*.yaml")]
    pages += ROOT.glob("benchmarks/*.yaml")
    named: set[tuple[str, str]] = set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:vrft|tasks|tests|benchmarks)[/.][\w./]*\w)`", text):
            named.add((page.relative_to(ROOT).as_posix(), name))
    assert len(named) > 40  # the pattern does find names
    lost = [(page, name) for page, name in sorted(named) if not is_there(name)]
    assert lost == []


def is_there(name: str) -> bool:
    """Return whether a path of the checkout, or a module or its attribute, has this name."""
    if "/" in name:
        return (ROOT / name).exists()
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False
