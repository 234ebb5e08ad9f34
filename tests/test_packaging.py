"""The contents of the wheel, and of a source checkout beside it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers
import yaml
from fakes.folders import ROOT
from hatchling.builders.wheel import WheelBuilder

import vrft
from vrft.config.methods import METHODS

OWN = {"vrft", "vrft_tasks", "benchmarks", "fakes", "letters_task"}
"""The modules of this checkout."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from this checkout, by the backend that pip calls."""
    folder = str(tmp_path_factory.mktemp("wheel"))
    (path,) = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return zipfile.ZipFile(path)


def described() -> dict[str, Any]:
    """Return the project's table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return table["project"]  # type: ignore[no-any-return]


def tried_pythons() -> list[str]:
    """Return the versions of Python that the classifiers name, the oldest first."""
    kind = "Programming Language :: Python :: 3."
    return [name.rpartition(" ")[2] for name in described()["classifiers"] if name.startswith(kind)]


def named(requirements: list[str]) -> set[str]:
    """Return the names of the distributions that requirements ask for, in lower case with "-"."""
    return {canonical(re.split(r"[\[<>=;,! ]", text)[0]) for text in requirements}


def canonical(name: str) -> str:
    """Return the name of a distribution as an index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(*folders: str) -> set[str]:
    """Return the distributions whose modules the files in these folders import.

    A module that is not installed here stands for the distribution of its name.
    """
    installed = packages_distributions()
    modules = {module for name in folders for path in (ROOT / name).rglob("*.py")
               for module in modules_of(path)}  # fmt: skip
    assert modules
    return {
        canonical(distribution)
        for module in modules - sys.stdlib_module_names - OWN
        for distribution in installed.get(module, [module])
    }


def modules_of(path: Path) -> Iterator[str]:
    """Return the top modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def read_yaml(name: str) -> Any:
    """Return the value of a YAML file of the checkout."""
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def shipped(folder: str, pattern: str) -> set[str]:
    """Return the files in a folder of the checkout, as paths below it.

    Folders below benchmarks/ measure the toolkit itself, and stay in the checkout.
    """
    top = ROOT / folder
    return {
        path.relative_to(top).as_posix()
        for path in (top.glob(pattern) if folder == "benchmarks" else top.rglob(pattern))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "pattern", "target"),
    [
        ("vrft", "*", "vrft"),
        ("tasks/vrft_tasks", "*", "vrft_tasks"),
        ("configs", "*.yaml", "vrft/configs"),
        ("benchmarks", "*.yaml", "vrft/benchmarks"),
    ],
)
def test_the_wheel_holds_everything_that_is_shipped(
    wheel: zipfile.ZipFile, source: str, pattern: str, target: str
) -> None:
    expected = {f"{target}/{name}" for name in shipped(source, pattern)}
    assert expected  # the folder was found
    assert expected - set(wheel.namelist()) == set()


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"vrft", "vrft_tasks"}
    benchmarks = [name for name in wheel.namelist() if name.startswith("vrft/benchmarks/")]
    assert {Path(name).suffix for name in benchmarks} == {".yaml"}  # no measuring scripts


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "vrft/py.typed",
        "vrft_tasks/py.typed",
        # the demo's model, and its pictures with their licences
        "vrft/demo/model/config.json",
        "vrft/demo/model/model.safetensors",
        "vrft/demo/assets/LICENSES.md",
    ],
)
def test_the_wheel_holds_what_is_easily_forgotten(wheel: zipfile.ZipFile, name: str) -> None:
    assert name in wheel.namelist()


@pytest.mark.slow
def test_the_wheel_carries_its_licences_and_entry_points(wheel: zipfile.ZipFile) -> None:
    info = {n.split("/", 1)[1]: n for n in wheel.namelist() if ".dist-info/" in n}
    assert {"licenses/LICENSE", "licenses/vrft/demo/assets/LICENSES.md"} <= info.keys()
    entry_points = wheel.read(info["entry_points.txt"]).decode()
    assert "vrft = vrft.cli:main" in entry_points
    assert "[vrft.tasks]\nvrft = vrft_tasks" in entry_points


@pytest.mark.slow
def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    assert sum(entry.compress_size for entry in wheel.infolist()) < 20e6


@pytest.mark.slow
def test_code_is_a_small_part_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    # The rest are the demo's models and pictures: CONTRIBUTING.md says why they are in it.
    code = [entry for entry in wheel.infolist() if not entry.filename.startswith("vrft/demo/")]
    assert sum(entry.compress_size for entry in code) < 2e6


@pytest.mark.slow
def test_the_wheel_finds_what_it_ships(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import vrft, vrft.cli as cli\n"
        "print(vrft.__file__)\n"
        "for argv in (['tasks'], ['config', 'list'], ['eval', '--list']):\n"
        "    assert cli.main(argv) == 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},  # before the editable installation
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    for shown in ("lisa_grounding  ", "demo/lisa_grounding\n", "lisa_val "):
        assert shown in done.stdout


def test_torchvision_is_no_dependency() -> None:
    # Built for another torch it breaks transformers: it is only ever an extra.
    project = described()
    assert not [name for name in project["dependencies"] if name.startswith("torchvision")]
    extras = project["optional-dependencies"]
    with_it = [extra for extra, names in extras.items() if "torchvision" in str(names)]
    assert with_it == ["vision"]


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = described()
    dependencies = named(project["dependencies"])
    extras = {extra: named(rows) for extra, rows in project["optional-dependencies"].items()}
    users = dependencies.union(*(names for extra, names in extras.items() if extra != "test"))
    packaged = imported("vrft", "tasks")
    # a tracker of the user's own, and an engine in an environment of its own
    assert packaged - users == {"trackio", "vllm"}
    # It reads the same messages as the models do here, and is the oracle of pictures in the tests.
    assert dependencies - packaged == {"qwen-vl-utils"}
    measuring = imported("tests", "benchmarks", "notebooks")
    assert measuring - users - extras["test"] == {"vllm"}  # a stand-in of its worker


def test_the_package_offers_the_commands_and_no_other_names() -> None:
    assert {"train", "check", "evaluate", "load", "TrainResult", "Sample"} <= set(dir(vrft))
    assert all(getattr(vrft, name) is not None for name in vrft.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = vrft.trian  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    assert vrft.__version__ == described()["version"]


# --- what the package says of itself


def test_classifiers_are_known_and_name_the_pythons_that_are_allowed() -> None:
    names = described()["classifiers"]
    assert set(names) <= trove_classifiers.classifiers and names == sorted(names)
    pythons = tried_pythons()
    assert described()["requires-python"] == f">={pythons[0]}" and len(pythons) > 1


def test_what_is_cited_is_this_version_and_the_method_that_is_the_default() -> None:
    cited = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # that the form demands
    assert (cited["version"], cited["license"]) == (vrft.__version__, described()["license"])
    (paper,) = cited["references"]
    assert METHODS["gpg"].source and paper["url"] == described()["urls"]["Paper"]
    assert paper["url"].rpartition("/")[2] in (ROOT / "docs/algorithms.md").read_text()
    for entry in (cited, paper):
        assert all("name" in who or "family-names" in who for who in entry["authors"])


@pytest.mark.parametrize("kind", ["bug", "question", "feature"])
def test_an_issue_is_asked_for_in_a_form(kind: str) -> None:
    form = read_yaml(f".github/ISSUE_TEMPLATE/{kind}.yml")
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    environment = [field for field in fields if "`vrft env`" in field["attributes"]["label"]]
    assert kind == "feature" or environment
    assert kind != "bug" or environment[0]["validations"]["required"]


def test_the_workflow_runs_what_ci_runs_on_two_pythons_by_the_makefiles_torch() -> None:
    (job,) = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    pythons = tried_pythons()
    assert job["strategy"]["matrix"]["python"] == [pythons[0], pythons[-1]]
    (torch,) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert job["env"]["TORCH"].split()[0] == torch


def test_what_continuous_integration_runs_refuses_an_old_make_in_one_line(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text("#!/bin/sh\necho \"make: unrecognized option '--output-sync'\" >&2\nexit 2\n")
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / ".ci/run"], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ".ci/run needs GNU make 4 or newer as make; put it first on the PATH\n"


@pytest.mark.parametrize("mark", ["large", "faults", "vllm", "browser"])
def test_the_target_of_a_mark_runs_every_folder_that_has_it(mark: str) -> None:
    recipe = re.search(rf"pytest -m {mark}\b(?:.*\\\n)*.*", (ROOT / "Makefile").read_text())
    assert recipe is not None
    folders = re.findall(r"\btests(?:/\w+)*", recipe[0])
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if f"mark.{mark}" in path.read_text(encoding="utf-8") and path.name != "test_packaging.py"
    ]
    assert marked
    assert [file for file in marked if not file.startswith(tuple(f"{f}/" for f in folders))] == []
