"""Log-probabilities by decoding are those of the trainer's packed forward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from vrft.diagnosis.decoding_logps import decoding_logps
from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

ROWS = [[[30, 31, 32, 33], [40]], [[50, 51], [60, 61, 62]]]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_decoding_gives_the_log_probabilities_of_training(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    prompts = [Prompt("What is it?", (picture(56, 84),)), Prompt("Count to three.")]
    encoded = [encoding.encode(loaded, prompt) for prompt in prompts]
    with torch.no_grad():
        trained = GroupLogps(loaded)(encoded, ROWS, 0.7)  # [2, 2, 4]
    decoded = decoding_logps(loaded, encoded, ROWS, 0.7, 3)
    assert decoded.shape == (2, 2, 3)
    for b, g, length in ((0, 0, 3), (0, 1, 1), (1, 0, 2), (1, 1, 3)):
        torch.testing.assert_close(
            decoded[b, g, :length], trained[b, g, :length], atol=2e-5, rtol=1e-5
        )
    assert float(trained.std()) > 1e-4  # not all alike by chance
