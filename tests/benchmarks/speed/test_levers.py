"""benchmarks/speed/levers.py: a lever that is off changes the time of a step, and no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from fakes.race import SETTING, SMALL, step

from benchmarks.speed import counters, levers, shapes
from benchmarks.speed.levers import LEVERS, Trial
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import SETTINGS

GIVEN = [(300, 301, 302), (303,), (304, 305), (306,)]


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    """Return our side, which learns from the same texts in every step and never moves."""
    side = Ours(Questions(SETTING, steps=4 * len(LEVERS)), shapes.written(SMALL, "cpu"), "cpu")
    for group in side.run.optimizer.optimizer.param_groups:
        group["lr"] = 0.0
        group["weight_decay"] = 0.0
    side.run.scheduler.step = lambda: None  # type: ignore[method-assign]
    yield side


def gradient(side: Ours, cursor: int) -> torch.Tensor:
    side.run.progress.cursor = cursor
    questions = side.run.task
    drawn = [side.run.samples[index] for index in range(len(side.run.samples))]
    prompts = side.policy.encode([questions.prompt(sample) for sample in drawn])
    side.policy.given = {tuple(prompt.tokens.tolist()): GIVEN for prompt in prompts}
    with counters.recorded(side, "cpu") as record:
        side.step()
    return torch.cat([part.flatten() for part in record.gradient.values()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "lever", [one for one in LEVERS if one.fits(SETTING)], ids=lambda x: x.name
)
def test_without_a_lever_the_gradient_is_the_same(ours: Ours, lever: levers.Lever) -> None:
    with lever.around(ours):
        kept = gradient(ours, 0)
        with lever.off(ours):
            without = gradient(ours, 0)
        again = gradient(ours, 0)
    assert kept.norm() > 0 and torch.equal(kept, again)  # nothing of the switch is left
    assert float((kept - without).norm() / kept.norm()) < 1e-4


def test_a_tied_group_costs_an_update_only_without_its_lever() -> None:
    tied = replace(SETTING, tied=0.5)
    side = Ours(Questions(tied, steps=3), shapes.written(SMALL, "cpu"), "cpu")
    (lever,) = (one for one in LEVERS if one.fits(tied))
    assert side.step().calls["backward"] == 1
    with lever.off(side):
        assert side.step().calls["backward"] == 2
    assert side.step().calls["backward"] == 1


def test_every_setting_of_the_mode_has_levers() -> None:
    for name in levers.SETTINGS:
        assert [one for one in LEVERS if one.fits(SETTINGS[name])]


def test_factors_are_medians_over_turns() -> None:
    on, off = (step(2.0), step(1.0), step(4.0)), (step(4.0), step(3.0), step(4.0))
    trial = Trial(SETTING, SMALL, "a lever", ("rollout",), on, off)
    assert trial.factor == trial.factor_of_parts == 2.0  # of 2, 3 and 1
    text = levers.section([trial])
    assert "| pictures | a lever | 2.00 | 4.00 | **2.00** | 2.00 | rollout |" in text
    assert levers.section([]) == ""
