"""A target under atheris, where that is installed: inputs are counted and errors are named."""

from __future__ import annotations

import pytest

from benchmarks.reliability import fuzz


@pytest.mark.timeout(120)
def test_a_target_is_fuzzed_by_its_coverage() -> None:
    pytest.importorskip("atheris")
    outcome = fuzz.fuzz_guided("COCO", 2.0, 1)
    assert outcome.errors == {}
    assert outcome.inputs > outcome.refused > 0
