"""Which steps keep the vision passes of their rollouts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vrft.config.methods import AlgorithmConfig
from vrft.models.vision_graphs import VisionGraphs
from vrft.training.vision_reuse import graphs_of, reuses_vision


def run_of(
    algorithm: AlgorithmConfig | None = None, processes: int = 1, tower: object = "a tower"
) -> Any:
    cache = SimpleNamespace(graphs=VisionGraphs(2**20))
    return SimpleNamespace(
        policy=SimpleNamespace(loaded=SimpleNamespace(vision_tower=tower, feature_cache=cache)),
        config=SimpleNamespace(algorithm=algorithm or AlgorithmConfig()),
        accelerator=SimpleNamespace(num_processes=processes),
    )


def test_a_step_keeps_passes_from_its_beginning_to_its_end() -> None:
    run, seen = run_of(), list[bool]()
    graphs = run.policy.loaded.feature_cache.graphs

    @reuses_vision
    def step(run: Any, answer: int) -> int:
        seen.append(graphs.is_open)
        return answer

    assert step(run, 3) == 3
    assert seen == [True]
    assert not graphs.is_open


def test_a_step_that_fails_keeps_nothing() -> None:
    run = run_of()

    @reuses_vision
    def step(run: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        step(run)
    assert not run.policy.loaded.feature_cache.graphs.is_open


@pytest.mark.parametrize(
    "run",
    [
        run_of(AlgorithmConfig(num_iterations=2)),
        run_of(AlgorithmConfig(num_mini_batches=2)),
        run_of(processes=2),
        run_of(tower=None),
        SimpleNamespace(policy=object()),
    ],
    ids=["two iterations", "two mini-batches", "two devices", "no tower", "no model"],
)
def test_nothing_is_kept_where_the_weights_move_or_devices_wait(run: Any) -> None:
    assert graphs_of(run) is None
