"""vrft/models/heap.py: freed memory is kept, unless the environment says otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vrft import models
from vrft.config.schema import ModelConfig
from vrft.models import heap

FAULTS = """
import resource, torch
from vrft.models import heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), heap.keep_freed_memory(), faults(), faults())
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


@on_glibc
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    # in a process of its own, as nothing takes the setting back
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, kept, first, later = ran.stdout.split()
    assert kept == "True"
    # each tensor touched pages of its own, then one tensor did, then none
    assert int(before) > 10 * int(first) > 10 * int(later)


@on_glibc
@pytest.mark.parametrize("name", heap.SETTINGS)
def test_what_the_environment_sets_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert not heap.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not heap.keep_freed_memory()


@pytest.mark.parametrize("train", [True, False])
def test_a_model_that_is_trained_on_a_cpu_keeps_it(
    train: bool, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(heap, "keep_freed_memory", lambda: calls.append(True))
    models.load_model(ModelConfig(name=str(model_folder("qwen2"))), train=train, device="cpu")
    assert calls == [True] * train
