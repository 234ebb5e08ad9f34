"""A nursery of killable trainings for all tests of faults, and tiny runs with many checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import nursery as nurseries
from fakes.folders import FAKES
from fakes.nursery import Nursery

LETTERS = FAKES / "letters_task.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder: `make test-faults` runs them, `make test` does not."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nurseries.opened(tmp_path_factory.mktemp("nursery")) as opened:
        yield opened


@pytest.fixture
def settings(model_folder: Callable[[str], Path]) -> Callable[..., list[str]]:
    """The arguments of a run that saves after each step, into a folder."""

    def make(folder: Path, steps: int, *more: str) -> list[str]:
        return [
            "train",
            f"task={LETTERS}",
            f"model={model_folder('qwen2_vl')}",
            "algorithm.num_generations=2",
            "sampling.max_completion_length=4",
            "train.per_device_train_batch_size=2",
            f"train.max_steps={steps}",
            "train.learning_rate=1e-3",
            "train.warmup_ratio=0.3",
            "train.save_steps=1",
            "train.canaries=off",
            f"train.output_dir={folder}",
            *more,
        ]

    return make
