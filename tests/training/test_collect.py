"""Groups are rewarded by the task, and resampled while too few of them have signal."""

from __future__ import annotations

import pytest
from fakes.bigram import CONFIG, Echo, SameForAll, run, share, take_step, with_algorithm

from vrft.errors import UserError


def test_reward_weights_scale_the_sum_of_rewards() -> None:
    made = run(with_algorithm(CONFIG, reward_weights={"share": 3.0}))
    metrics, _ = take_step(made)
    assert metrics["reward"] == pytest.approx(3 * metrics["rewards/share/mean"], rel=1e-5)


def test_a_reward_that_does_not_apply_adds_nothing() -> None:
    class Sometimes(Echo):
        def rewards(self):  # type: ignore[no-untyped-def]
            return {"share": share, "never": lambda sample, completion: None}

    metrics, rows = take_step(run(CONFIG, Sometimes()))
    assert metrics["reward"] == pytest.approx(metrics["rewards/share/mean"])
    assert rows[0]["rewards"]["never"] is None


def test_resampling_replaces_groups_without_signal() -> None:
    config = with_algorithm(CONFIG, min_informative=1.0, alpha=True)
    made = run(config, SameForAll())
    metrics, rows = take_step(made)
    assert metrics["resample_rounds"] > 1
    assert metrics["frac_reward_zero_std"] == 0.0
    assert metrics["alpha"] == 1.0  # of the groups that are kept
    assert len(rows) == 6 * 4
    assert len({row["sample_id"] for row in rows}) == 6


@pytest.mark.parametrize(
    ("on_exhausted", "moves"), [("train", True), ("skip", False), ("error", None)]
)
def test_what_happens_when_too_few_groups_have_signal(
    on_exhausted: str, moves: bool | None
) -> None:
    config = with_algorithm(
        CONFIG, min_informative=1.0, max_resample_rounds=0, on_exhausted=on_exhausted
    )
    made = run(config, SameForAll())
    if moves is None:
        with pytest.raises(UserError, match="min_informative"):
            take_step(made)
        return
    take_step(made)
    parameters = next(made.policy.module.parameters())
    assert bool(parameters.abs().sum() > 0) == moves
