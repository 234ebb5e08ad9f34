"""The quantiles of the seconds that rewards took, over the groups of all devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fakes.bigram import CONFIG, Echo, run, take_step

from vrft.processes import exchange
from vrft.training.metrics import quantile, reward_seconds


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.5, 3.0),
        ([3.0], 0.99, 3.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([2.0, 3.0, 1.0], 0.5, 2.0),
        ([4.0, 2.0, 3.0, 1.0], 0.99, 4.0),
        # of a hundred values 99 are no larger than the 99th; of 200 that is the 198th
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 201)], 0.99, 198.0),
    ],
)
def test_a_quantile_is_one_of_the_values(
    values: list[float], share: float, expected: float
) -> None:
    assert quantile(values, share) == expected


def test_groups_of_all_devices_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def group(seconds: float) -> Any:
        return SimpleNamespace(seconds={"mine": seconds})

    others = [{"mine": 0.3}, {"mine": 0.4}]
    monkeypatch.setattr(exchange, "gather_object", lambda own: [*own, *others])
    batch: Any = SimpleNamespace(groups=[group(0.1), group(0.2)])
    several: Any = SimpleNamespace(accelerator=SimpleNamespace(num_processes=2))
    assert reward_seconds(several, batch) == {
        "rewards/mine/seconds_p50": 0.2,
        "rewards/mine/seconds_p99": 0.4,
    }
    alone: Any = SimpleNamespace(accelerator=SimpleNamespace(num_processes=1))
    assert reward_seconds(alone, batch)["rewards/mine/seconds_p99"] == 0.2


def test_a_step_has_them_for_each_reward() -> None:
    metrics, _ = take_step(run(CONFIG, Echo()))
    p50, p99 = (metrics[f"rewards/share/seconds_{word}"] for word in ("p50", "p99"))
    assert 0 <= p50 <= p99 < 60
