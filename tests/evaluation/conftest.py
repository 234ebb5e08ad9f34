"""Fixtures of the tests of vrft/evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.scripted import benchmark, write_reasonseg

from vrft import registry
from vrft.task import Task


@pytest.fixture
def task(tmp_path: Path) -> Task[Any]:
    """Return the task of four ReasonSeg questions, whose answers fakes.scripted has."""
    return registry.build(benchmark(write_reasonseg(tmp_path / "data")).task)
