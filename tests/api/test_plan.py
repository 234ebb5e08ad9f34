"""``vrft.plan``: the lines of the command, and its cards as numbers."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path

import pytest

import vrft
from vrft import cli
from vrft.api import plan

SHORT = {"max_completion_length": 8}


def test_the_example_of_the_docstring_is_true() -> None:
    result = doctest.testmod(plan)
    assert result.attempted > 3 and result.failed == 0


def test_the_plan_has_the_lines_that_the_command_prints(
    capsys: pytest.CaptureFixture[str], model_folder: Callable[[str], Path]
) -> None:
    model = model_folder("qwen3_vl")
    planned = vrft.plan(pictures=[(128, 128)], gpu="A10", model=model, sampling=SHORT)
    words = ["--picture", "128x128", "--gpu", "A10", f"model={model}"]
    assert cli.main(["plan", *words, "sampling.max_completion_length=8"]) == 0
    assert capsys.readouterr().out == f"{planned}\n"
    assert planned.fits == {"A10": True}
    (card,) = planned.cards
    assert 0 < card.peak < card.room < 24


def test_rows_in_memory_are_measured() -> None:
    rows = [{"question": "How many?", "answer": "3"}, {"question": "And " * 40, "answer": "4"}]
    planned = vrft.plan(rows, model="demo", gpu=("24GB", "80GB"), limit=1, sampling=SHORT)
    assert "data       1 prompt(s)" in planned.facts
    assert list(planned.fits) == ["24GB", "80GB"]


def test_the_optimizer_of_eight_devices_moves_to_the_machine(
    model_folder: Callable[[str], Path],
) -> None:
    model = model_folder("qwen2")
    plans = [
        vrft.plan(words=9, gpu="A10", model=model, devices=8, zero=2, offload=on, sampling=SHORT)
        for on in (False, True)
    ]
    assert plans[1].cards[0].peak < plans[0].cards[0].peak
    assert "ZeRO-2 with offload" in plans[1].facts
    assert "in the machine, a device" in plans[1].facts
    assert "in the machine, a device" not in plans[0].facts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"offload": True}, "--offload is DeepSpeed's; give --zero 2"),
        ({"zero": 3}, "give --devices too"),
        ({"reward": "a.py:f"}, "--reward: --picture and --words plan without data"),
        ({"gpu": "H1000"}, "--gpu H1000: no such card"),
        ({"gpu": 24}, "--gpu 24: no such card"),
        ({"pictures": (112, 112)}, "pictures: expected pairs of width and height, got 112"),
        ({"tpye": {}}, "unknown setting tpye"),
        ({"task": 3}, "task: expected a name or a path, got 3"),
        ({"model.quantization": "nf4"}, "cannot be trained themselves"),
        (
            {"model.quantization": "nf4", "model.lora.r": 4, "zero": 2, "devices": 2},
            "DeepSpeed and FSDP cannot cut",
        ),
    ],
)
def test_a_mistake_is_one_line(
    given: dict[str, object], message: str, model_folder: Callable[[str], Path]
) -> None:
    settings = {"model.name": str(model_folder("qwen2")), **given}
    with pytest.raises(vrft.UserError, match=message):
        vrft.plan(words=9, **settings)  # type: ignore[arg-type]
