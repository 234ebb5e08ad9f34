"""A race that several tests look at, run once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.race import PLAN, SETTING, SMALL, WIDE

from benchmarks.speed import limit
from benchmarks.speed.race import Race, race

# TRL asks transformers by names that are old by now
OLD_NAMES = "ignore:.*gradient_checkpointing.*is deprecated:FutureWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore TRL's own warnings, in the tests of this folder alone."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(OLD_NAMES))


@pytest.fixture(scope="session", autouse=True)
def short_probes() -> Iterator[None]:
    """Measure the machine's speed for a moment only: no test looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limit, "PROBE", 0.01)
        yield


@pytest.fixture(scope="session")
def small_race(short_probes: None) -> Race:
    """Race one pair on a model whose layers are too small to be repacked."""
    return race(SETTING, SMALL, PLAN)


@pytest.fixture(scope="session")
def wide_race(short_probes: None) -> Race:
    """Race one pair on a model whose layers a rollout repacks, as it does every published one's."""
    return race(SETTING, WIDE, PLAN)
