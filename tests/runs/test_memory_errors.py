"""Full memory is one line with a remedy, and other errors keep their traceback."""

from __future__ import annotations

import pytest
import torch
from fakes.command_line import complaint

from vrft import registry
from vrft.runs import memory_errors

GPU = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.25 GiB of "
    "which 14.90 GiB is free.\nProcess 1 has 64 GiB memory in use. " + "More words. " * 30
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 70368744177664 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError(GPU), "out of memory (CUDA out of memory. Tried to allocate 20.00"),
        (RuntimeError(CPU), "out of memory (DefaultCPUAllocator: can't allocate memory: you tried"),
        (MemoryError(), "out of memory (Python got no more); `vrft plan`"),
    ],
)
def test_full_memory_is_one_line_with_what_takes_less(error: Exception, words: str) -> None:
    line = memory_errors.line_of(error)
    assert line is not None and line.startswith(words)
    assert "\n" not in line and "model.max_pixels" in line and "--batch-size" in line


def test_the_allocator_of_this_torch_says_it_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46, dtype=torch.uint8)
    assert memory_errors.line_of(caught.value) is not None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError(GPU), KeyError("a")])
def test_other_errors_are_none_of_memory(error: Exception) -> None:
    assert memory_errors.line_of(error) is None


def test_a_command_without_memory_ends_in_that_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError(GPU)

    monkeypatch.setattr(registry, "names", full)
    assert complaint(capsys, "tasks").startswith(
        "vrft: error: out of memory (CUDA out of memory. Tried"
    )


def test_a_bug_in_a_command_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong() -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(registry, "names", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        complaint(capsys, "tasks")
