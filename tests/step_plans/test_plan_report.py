"""The report of a plan: its notes, its tables and its verdicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vrft import config
from vrft.step_plans import budget, cards, lengths, plan_report, shape, step_plan
from vrft.step_plans.step_plan import Job


@pytest.fixture
def job(model_folder: Callable[[str], Path]) -> Callable[..., Job]:
    """Return a job of a tiny model with some settings and devices."""

    def make(*settings: str, launch: budget.Devices | None = None) -> Job:
        given = [f"model={model_folder('qwen3_vl')}", "sampling.max_completion_length=8"]
        made = config.load(None, [*given, *settings])
        model = shape.read(made.model.name)
        sizes = lengths.of_sizes([(128, 128)], 20, model, made.model)
        return Job(made, model, sizes, launch or budget.Devices())

    return make


@pytest.mark.parametrize(
    ("settings", "launch", "noted"),
    [
        ((), budget.Devices(), ""),
        (("rollout.engine=vllm",), budget.Devices(), "rollout's server is not counted"),
        (("algorithm=ppo",), budget.Devices(), "critic's head is not counted"),
        (("algorithm=sft",), budget.Devices(), "reference answers are taken to be as long"),
        (("model.shared_prefix=false",), budget.Devices(), "shared_prefix=false is not counted"),
        ((), budget.Devices(8, 2, offload=True), "what offload moves"),
        ((), budget.Devices(8, 3, offload=True), "layer that computes are not counted"),
    ],
)
def test_a_plan_says_what_it_leaves_out(
    settings: tuple[str, ...], launch: budget.Devices, noted: str, job: Callable[..., Job]
) -> None:
    notes = plan_report.notes(job(*settings, launch=launch))
    assert noted in " ".join(notes) and bool(notes) is bool(noted)


def test_the_parts_of_a_peak_sum_up(job: Callable[..., Job]) -> None:
    planned = step_plan.budget(job())
    *_, total, empty = plan_report.memory_lines(planned)
    sums = [sum(parts.values()) / cards.GIB for parts in (planned.rollout, planned.update)]
    assert total.split() == ["sum", *(f"{size:.2f}" for size in sums)] and not empty


def test_a_card_is_judged_with_the_time_of_a_step(job: Callable[..., Job]) -> None:
    asked = [("A10", *cards.read("A10")), ("1GB", *cards.read("1GB"))]
    planned = plan_report.report(job(), asked)
    large, small = planned.cards
    assert large.settings == () and "(A10: rollout" in large.line
    assert small.settings is None and small.line.startswith("1GB        does not fit")
    assert planned.facts.startswith("model ") and "a median step" in planned.facts
