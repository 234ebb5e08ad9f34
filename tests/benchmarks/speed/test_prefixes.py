"""benchmarks/speed/prefixes.py: shared and repeated prompts give the same gradient."""

from __future__ import annotations

from fakes.race import SMALL

from benchmarks.speed import prefixes
from benchmarks.speed.prefixes import Update


def test_both_ways_give_the_same_gradient_on_prompts_as_long_as_asked() -> None:
    update = prefixes.measure(40, 6, SMALL, rounds=1)
    assert (update.prompt, update.completion, update.generations) == (40, 6, 4)
    assert update.difference < 1e-4 and update.factor > 0


def test_the_published_factor_stands_beside_ours() -> None:
    update = Update(SMALL.reading(0), 4096, 512, 4, (1.0, 2.0, 1.0), (3.0, 4.0, 1.0), 1e-7)
    assert update.factor == 2.0  # of 3, 2 and 1
    assert 1 < update.by_the_model < 4
    text = prefixes.section([update])
    assert "| 4,096 / 512 | 4 | 3.00 | 1.00 | **2.00** | " in text and "| 1.26 |" in text
    assert prefixes.section([]) == ""
