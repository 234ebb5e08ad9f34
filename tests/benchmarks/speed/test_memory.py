"""benchmarks/speed/memory.py: what a step takes is its peak over what was held before it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fakes.race import SETTING, SMALL

from benchmarks.speed import memory
from benchmarks.speed.memory import Memory


def test_a_step_takes_what_its_peak_is_above_the_beginning() -> None:
    assert Memory(before=100, peak=500).step == 400


def test_the_share_of_memory_is_that_of_the_steps() -> None:
    """2 MiB of 8, whatever was held before."""
    ours, theirs = Memory(2**20, 3 * 2**20), Memory(2**22, 12 * 2**20)
    text = memory.section({"theirs": theirs, "ours": ours})
    assert "| ours | 1 | 3 | 2 |" in text and text.endswith("Ours takes 25% of TRL's.")
    assert memory.section({}) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of the process")
def test_the_peak_is_counted_from_the_beginning_of_the_step() -> None:
    large = b"x" * 2**28
    del large
    before = memory.held("cpu")
    assert memory.status("VmHWM") - before < 2**26  # the 256 MiB are forgotten
    assert before == pytest.approx(memory.status("VmRSS"), rel=0.1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("side", memory.SIDES)
def test_each_side_takes_one_step(side: str) -> None:
    measured = memory.measure(side, SETTING, SMALL, "cpu")
    # a tiny step may take nothing; Linux counts both numbers to some pages
    assert 0 < measured.before < measured.peak + 2**20
