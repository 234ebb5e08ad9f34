"""benchmarks/speed/learning_curves.py: learning is published with each seed and the mean ratio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.race import compared

from benchmarks.speed import learning_curves
from benchmarks.speed.measurement import Measurement


def test_learning_is_reported_with_its_picture(tmp_path: Path) -> None:
    learned = Measurement(
        "learning", "cpu", learning=(compared(5.0), compared(5.0), compared(5.0, reward=1.1))
    )
    pictures = learning_curves.draw(learned, tmp_path)
    assert [path.name for path in pictures] == ["cpu-learning.png", "cpu-learning.svg"]
    assert all(path.stat().st_size for path in pictures)
    text = learning_curves.section(learned)
    line = "| 1 | 15 | 5 | 2.000 | 2.000 | 1.000 | 1.800 | after 12 s | after 4 s | 3.0x |"
    assert line in text and "| after 12 s | never |  |" in text
    assert "TRL's time over ours: geometric mean 3.0 (95 % 3.0 to 3.0; 2 of 3 seeds), " in text


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        # TRL is at its goal after 12 s, we are after 0.8 of these: log 2 and log 8 have the mean
        # log 4; twofold faster and slower cancel each other
        ((7.5, 1.875), "geometric mean 4.0 (95 % "),
        ((7.5, 30.0), "geometric mean 1.0 (95 % "),
        ((7.5,), "1 of 1 seeds reached the goal on both sides, in wall time"),
    ],
)
def test_ratios_are_averaged_by_their_logarithms(ours: tuple[float, ...], told: str) -> None:
    learning = tuple(compared(seconds) for seconds in ours)
    measured = Measurement("learning", "cpu", learning=learning)
    assert learning_curves.mean_ratio(measured).startswith(told)


def test_seeds_of_two_clocks_are_never_averaged_nor_drawn_together(tmp_path: Path) -> None:
    # the two in processor time have the ratio 12 / 4; those in wall time would have 12 / 6 and 12
    timed = [replace(compared(5.0), clock="processor", commit=name) for name in ("aaa", "bbb")]
    older = [replace(compared(7.5), clock="wall"), replace(compared(1.25), clock="wall")]
    measured = Measurement("learning", "cpu", commit="ccc", learning=(older[0], *timed, older[1]))
    assert learning_curves.mean_ratio(measured) == (
        "geometric mean 3.0 (95 % 3.0 to 3.0; 2 of 2 seeds), in processor time, commit aaa, bbb; "
        "2 seeds on another clock left out."
    )
    assert learning_curves.on_one_clock(measured) == tuple(timed)
    # as long as there are none but older ones, they are the result, and said to be
    older_only = replace(measured, learning=tuple(older))
    said = learning_curves.mean_ratio(older_only)
    assert said.endswith("2 of 2 seeds), in wall time, commit ccc.")
    drawn, alone = tmp_path / "drawn", tmp_path / "alone"
    for folder, learning in ((drawn, measured.learning), (alone, tuple(timed))):
        folder.mkdir()
        learning_curves.draw(replace(measured, learning=learning), folder)
    assert (drawn / "cpu-learning.svg").read_bytes() == (alone / "cpu-learning.svg").read_bytes()
