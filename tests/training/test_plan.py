"""The plan of a dry run says which models are held, and what they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.folders import FAKES

from vrft import config
from vrft.training import plan

LETTERS = FAKES / "letters_task.py"


def plan_of(model: Path, *settings: str) -> str:
    return plan.plan_text(config.load(None, [f"task={LETTERS}", f"model={model}", *settings]))


def gigabytes(text: str) -> float:
    found = re.search(r"([0-9.]+) GB", text)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("method", "models"),
    [
        ("gpg", "policy"),
        ("grpo", "policy, reference"),
        ("ppo", "policy, reference, critic (shared)"),
    ],
)
def test_the_plan_names_the_models_of_the_method(
    method: str, models: str, model_folder: Callable[[str], Path]
) -> None:
    text = plan_of(model_folder("qwen2_vl"), f"algorithm={method}")
    assert f"method     {method}, which holds: {models}\n" in text


def test_a_reference_model_takes_memory_of_its_own_but_not_under_lora(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "BYTES_TRAINED", 0)
    monkeypatch.setattr(plan, "BYTES_HELD", 1e6)
    model = model_folder("qwen2_vl")
    assert gigabytes(plan_of(model)) == 0
    whole = gigabytes(plan_of(model, "algorithm=grpo"))
    assert whole > 0
    # with an adapter the frozen weights themselves are the reference: held once, with or without
    adapter = [
        gigabytes(plan_of(model, "model.lora.r=4", f"algorithm={m}")) for m in ("gpg", "grpo")
    ]
    assert adapter[0] == adapter[1] == pytest.approx(whole)
