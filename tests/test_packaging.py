"""The contents of the wheel, and of a source checkout beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from fakes.folders import ROOT
from hatchling.builders.wheel import WheelBuilder

import vrft


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from this checkout, by the backend that pip calls."""
    folder = str(tmp_path_factory.mktemp("wheel"))
    (path,) = WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    return zipfile.ZipFile(path)


def shipped(folder: str, pattern: str) -> set[str]:
    """Return the files in a folder of the checkout, as paths below it."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob(pattern)
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [name for name in project["dependencies"] if name.startswith("torchvision")]
    extras = project["optional-dependencies"]
    with_it = [extra for extra, names in extras.items() if "torchvision" in str(names)]
    assert with_it == ["vision"]


def test_the_package_offers_the_commands_and_no_other_names() -> None:
    assert {"train", "check", "evaluate", "load", "TrainResult", "Sample"} <= set(dir(vrft))
    assert all(getattr(vrft, name) is not None for name in vrft.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = vrft.trian  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert vrft.__version__ == tomllib.load(file)["project"]["version"]
