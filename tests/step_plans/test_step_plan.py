"""The settings that let a step fit, tried by the same account."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from vrft import config
from vrft.models import vision_graphs
from vrft.step_plans import budget as budgets
from vrft.step_plans import lengths, shape, step_plan
from vrft.step_plans.budget import Devices
from vrft.step_plans.cards import usable
from vrft.step_plans.step_plan import Job


def job(*settings: str, launch: Devices | None = None) -> Job:
    name = "Qwen/Qwen2-VL-2B-Instruct"
    settings = (f"model={name}", "sampling.max_completion_length=8", *settings)
    made = config.load(None, settings)
    model = shape.read(made.model.name)
    sizes = lengths.of_sizes([(112, 112)], 20, model, made.model)
    return Job(made, model, sizes, launch or Devices())


def test_nothing_is_turned_where_a_step_fits() -> None:
    answer = step_plan.remedy(job("model.lora.r=8"), usable(24))
    assert answer is not None and answer.settings == ()


def test_weights_that_do_not_fit_become_an_adapter() -> None:
    # 2.2 billion weights at 16 bytes are 33 GiB, whatever is checkpointed.
    answer = step_plan.remedy(job(), usable(24))
    assert answer is not None and answer.settings == step_plan.LORA
    assert answer.peak < usable(24)


def test_no_setting_puts_two_billion_weights_into_two_gigabytes() -> None:
    assert step_plan.remedy(job(), usable(3)) is None


def test_zero_makes_a_device_hold_less() -> None:
    alone = step_plan.states_of(job())
    shared = step_plan.states_of(job(launch=Devices(8, 3)))
    assert shared.weights < alone.weights / 8
    assert shared.optimizer < alone.optimizer / 4


def test_a_reference_model_is_a_copy_unless_there_is_an_adapter() -> None:
    weights = 2_208_985_600
    assert step_plan.states_of(job("algorithm.beta=0.1")).reference == 2 * weights
    assert step_plan.states_of(job("algorithm.beta=0.1", "model.lora.r=8")).reference == 0


@pytest.mark.parametrize(
    ("settings", "launch", "offered"),
    [
        ((), Devices(), True),
        (("model.lora.r=8",), Devices(), True),
        (("model.lora.r=8", "model.quantization=nf4"), Devices(), False),
        (("algorithm=sft",), Devices(), False),  # which a run refuses with it
        (("rollout.engine=vllm",), Devices(), False),
        ((), Devices(8, 3), False),
    ],
)
def test_four_bits_are_a_remedy_where_a_run_takes_them(
    settings: tuple[str, ...], launch: Devices, offered: bool
) -> None:
    turned = step_plan.remedies(job(*settings, launch=launch))
    assert any(step_plan.NF4 in words for words in turned) is offered


def test_four_bits_are_tried_before_smaller_pictures_and_after_all_else() -> None:
    turned = [" ".join(words) for words in step_plan.remedies(job())]
    (first,) = [i for i, words in enumerate(turned) if step_plan.NF4 in words]
    assert [i for i, words in enumerate(turned) if "max_pixels" in words] == [first + 1]
    assert first == len(turned) - 2


@pytest.mark.parametrize(
    ("settings", "launch", "kept"),
    [
        ((), Devices(), True),
        (("algorithm.num_iterations=2",), Devices(), False),
        (("rollout.engine=vllm",), Devices(), False),
        (("algorithm=sft",), Devices(), False),
        ((), Devices(2), False),
    ],
)
def test_vision_passes_are_kept_where_a_run_keeps_them(
    settings: tuple[str, ...], launch: Devices, kept: bool
) -> None:
    assert job(*settings, launch=launch).keeps_vision is kept


def test_kept_passes_are_in_the_plan_and_the_first_to_be_given_up(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 0)
    folder = f"model={model_folder('qwen2_vl')}"
    kept, none = (
        job("model.dtype=float32", f"model.vision_graph_mib={limit}", folder) for limit in (64, 0)
    )
    name = budgets.NAMES["kept"]
    assert name in step_plan.budget(kept).update
    assert name not in step_plan.budget(none).update
    first = [[*islice(step_plan.attempts(each, 2.0**40), 2)] for each in (kept, none)]
    assert first == [[(), (step_plan.NOTHING_KEPT,)], [(), (step_plan.CHECKPOINTING,)]]
    # Nothing is gained by it where the weights alone are too much.
    assert [*islice(step_plan.attempts(kept, 1.0), 2)][1] == (step_plan.CHECKPOINTING,)
