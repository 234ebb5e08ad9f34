"""Every target of the fuzzer survives some hundred inputs, the same ones every time."""

from __future__ import annotations

import pytest

from benchmarks.reliability import fuzz
from benchmarks.reliability.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_raises_its_declared_errors_alone(name: str) -> None:
    outcome = fuzz.fuzz(name, TARGETS[name], 5.0, inputs=200)
    assert outcome.errors == {}
    assert outcome.inputs >= 200
