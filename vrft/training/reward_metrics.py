"""The metrics of a step that tell how long its rewards took."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vrft.objectives.types import Batch
from vrft.processes import exchange
from vrft.training.run import Run

QUANTILES = {"p50": 0.5, "p99": 0.99}


def reward_seconds(run: Run, batch: Batch) -> dict[str, float]:
    """Return p50 and p99 of the seconds of each reward, over the groups of all devices.

    One value is the time that a reward took for the G completions of a group.
    """
    own = [rewarded.seconds for rewarded in batch.groups]
    groups = exchange.gather_objects(run.accelerator, own)
    return {
        f"rewards/{name}/seconds_{word}": quantile([seconds[name] for seconds in groups], share)
        for name in batch.groups[0].seconds
        for word, share in QUANTILES.items()
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that a share of all values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
