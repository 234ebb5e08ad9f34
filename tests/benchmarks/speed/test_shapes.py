"""benchmarks/speed/shapes.py: a model of each shape, the same whenever it is asked for."""

from __future__ import annotations

import pytest
import torch
from fakes.race import SMALL
from transformers import AutoConfig, AutoModelForImageTextToText

from benchmarks.speed import cost, shapes
from vrft import models
from vrft.config.schema import ModelConfig


def test_a_model_has_the_widths_and_weights_of_its_shape() -> None:
    folder = shapes.written(SMALL, "cpu")
    assert shapes.written(SMALL, "cpu") == folder  # written once
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    matrices = sum(weight.numel() for name, weight in model.named_parameters() if weight.ndim > 1)
    # the embedding is the head: weights of matrices, without biases and norms
    assert matrices == cost.weights(SMALL)


def test_no_token_of_the_model_has_to_be_suppressed_but_the_markers() -> None:
    loaded = models.load_model(ModelConfig(name=str(shapes.written(SMALL, "cpu"))), device="cpu")
    assert len(loaded.tokenizer) == loaded.head.out_features == SMALL.vocabulary
    assert len(loaded.banned_ids) < 10
    # no text is cut into an entry that was added, be it the entry's own
    tokens = loaded.tokenizer("unused 900 red").input_ids
    assert "unused 900" in loaded.tokenizer.get_vocab()
    assert "unused 900" not in loaded.tokenizer.convert_ids_to_tokens(tokens)


@pytest.mark.parametrize(("pictures", "family"), [(1, "qwen2_vl"), (0, "qwen2")])
def test_a_model_without_pictures_has_no_vision_tower(pictures: int, family: str) -> None:
    folder = shapes.written(SMALL.reading(pictures), "cpu")
    assert AutoConfig.from_pretrained(folder).model_type == family
