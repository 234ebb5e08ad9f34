"""benchmarks/speed/theirs.py: TRL's side reads the same task in the same order."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fakes.race import SETTING, SMALL

from benchmarks.speed import shapes, theirs
from benchmarks.speed.questions import Questions


def test_the_data_set_has_the_samples_in_their_order_with_their_pictures() -> None:
    questions = Questions(SETTING, steps=2)
    samples = [questions.samples("train")[index] for index in questions.order()]
    table = theirs.dataset(questions, samples)
    assert table["sample_id"] == [sample.id for sample in samples]
    first = table[0]
    assert first["prompt"] == [{"role": "user", "content": samples[0].question}]
    assert first["images"] == [samples[0].images[0]]


def test_the_processor_pads_on_the_left() -> None:
    processor = theirs.load_processor(shapes.written(SMALL, "cpu"))
    assert processor.tokenizer.padding_side == "left"


class Given:
    """A trainer that keeps what it was given."""

    def __init__(self, **given: Any) -> None:
        self.args = given["args"]

    def remove_callback(self, callback: Any) -> None: ...


def made(banned: tuple[int, ...]) -> Any:
    """Return TRL's settings for a trainer without checkpointing."""
    return theirs.make_trainer(
        cast(Any, Given),
        model=None,
        processor=None,
        rewards=[],
        data=cast(Any, None),
        banned=banned,
        generation_kwargs={"min_new_tokens": 6},
        activation_checkpointing=False,
        use_cpu=True,
        bf16=False,
    ).args


def test_banned_tokens_are_named_only_where_there_are_some() -> None:
    """vLLM, which is given none, would refuse the name."""
    assert made((3, 5)).generation_kwargs == {"min_new_tokens": 6, "suppress_tokens": [3, 5]}
    assert made(()).generation_kwargs == {"min_new_tokens": 6}


def test_checkpointing_is_switched_off_by_the_name_that_transformers_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert made(()).activation_checkpointing is False
    assert theirs.checkpointing_setting(True) == {
        "gradient_checkpointing": None,
        "activation_checkpointing": True,
    }
    # as in the transformers that vLLM asks for
    monkeypatch.setattr(theirs, "GRPOConfig", object)
    assert theirs.checkpointing_setting(True) == {"gradient_checkpointing": True}
