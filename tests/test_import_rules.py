"""Who imports whom: the contracts of .importlinter, and what must start without torch."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest
from fakes.folders import ROOT

import vrft_tasks

HEAVY = {
    *("torch", "transformers", "datasets", "trl", "accelerate", "peft", "scipy", "pandas"),
    *("math_verify", "sympy"),
}

LIGHT = (
    "vrft",
    *(f"vrft.{name}" for name in ("answers", "average_precision", "boxes", "classes", "coco")),
    *(f"vrft.{name}" for name in ("errors", "images", "masks", "mathverify", "numbers", "paths")),
    *(f"vrft.{name}" for name in ("progress", "records", "registry", "rewards", "task", "types")),
    *(f"vrft.{name}" for name in ("cli", "cli.environment", "config", "evaluation")),
    *(f"vrft.checks.{name}" for name in ("check", "findings", "gold_answers", "leaks", "samples")),
    *(f"vrft.evaluation.{name}" for name in ("predictions", "report", "stats", "viz")),
    *(f"vrft_tasks.{module.name}" for module in pkgutil.iter_modules(vrft_tasks.__path__)),
)


def test_the_import_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True)
    assert status == 0, capsys.readouterr().out


def loaded_after(code: str) -> set[str]:
    """The top-level packages that a fresh Python has imported after running ``code``."""
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
    """Code that runs a command of ``vrft``."""
    return f"from vrft.cli import main\ntry: main({command.split()})\nexcept SystemExit: pass"
