"""The vision pass of a step's rollout, taken by its update where both are of the same weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from vrft.models.vision_graphs import VisionGraphs, may_serve
from vrft.training.run import Run

P = ParamSpec("P")
R = TypeVar("R")


def reuses_vision(step: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R]:
    """Let an optimizer step's update take the features that its own rollout has kept.

    Nothing is kept where the weights move between them: where a batch serves several updates.
    """

    @wraps(step)
    def call(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> R:
        graphs = graphs_of(run)
        if graphs is None:
            return step(run, *args, **kwargs)
        with graphs.open():
            return step(run, *args, **kwargs)

    return call


def graphs_of(run: Run) -> VisionGraphs | None:
    """Return the place of kept vision passes, if the run's steps can use some."""
    loaded = getattr(run.policy, "loaded", None)
    if loaded is None or loaded.vision_tower is None:
        return None
    if not may_serve(run.config.algorithm, run.accelerator.num_processes):
        return None
    graphs: VisionGraphs = loaded.feature_cache.graphs
    return graphs
