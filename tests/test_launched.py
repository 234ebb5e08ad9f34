"""The launch of a process, told by the environment, which one module alone reads."""

from __future__ import annotations

import re

import pytest
from fakes.folders import ROOT

from vrft import launched


def test_a_process_without_a_launcher_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (launched.process(), launched.processes(), launched.local_processes()) == (0, 1, 1)
    assert launched.speaks() and not launched.several_machines()
    assert (launched.engine(), launched.shards()) == ("one device", False)


def test_of_several_processes_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "9"), ("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert (launched.process(), launched.processes(), launched.local_processes()) == (9, 16, 8)
    assert not launched.speaks() and launched.several_machines()
    assert (launched.engine(), launched.shards()) == ("DDP", False)


def test_processes_of_this_machine_alone_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert not launched.several_machines()  # of which this launcher says nothing
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert not launched.several_machines()


@pytest.mark.parametrize(("asked", "engine"), [("DEEPSPEED", "DeepSpeed"), ("FSDP", "FSDP2")])
def test_accelerate_says_what_shards(
    asked: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{asked}", "true")
    assert (launched.engine(), launched.shards()) == (engine, True)
    monkeypatch.setenv(f"ACCELERATE_USE_{asked}", "false")
    assert not launched.shards()


def test_no_other_module_reads_the_launch_from_the_environment() -> None:
    reading = re.compile(r"environ[^\n]*(RANK|WORLD_SIZE|ACCELERATE_USE)")
    files = [*(ROOT / "vrft").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    found = [file.name for file in files if reading.search(file.read_text(encoding="utf-8"))]
    assert found == ["launched.py"]
