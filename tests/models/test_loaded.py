"""A loaded model's face: the same parts and methods for every family, adapted or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from vrft.config.schema import LoraConfig
from vrft.demo.tiny_configs import TEXT_ONLY
from vrft.models import conversation, encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.types import Prompt

Load = Callable[..., LoadedModel]

each_family = pytest.mark.parametrize("family", list(FAMILIES))


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(r=4)], ids=["all weights", "LoRA"])
@each_family
def test_its_parts_are_those_of_the_transformers_model(
    family: str, lora: LoraConfig, load_tiny: Load
) -> None:
    loaded = load_tiny(family, train=True, lora=lora)
    assert (loaded.adapter is not None) == bool(lora.r)
    core: Any = loaded.core
    assert type(core).__name__.startswith("Qwen")  # not peft's wrapper
    assert core.get_decoder() is loaded.language_model
    assert core.get_input_embeddings() is loaded.token_embedding
    assert core.get_output_embeddings() is loaded.head
    assert (loaded.vision_tower is None) == (family in TEXT_ONLY)
    assert loaded.tokenizer("Where?")["input_ids"]


def test_the_device_is_asked_anew(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    assert loaded.device == torch.device("cpu")
    loaded.model.to("meta")  # as a launch may move it
    assert loaded.device == torch.device("meta")


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "qwen2"])
@pytest.mark.parametrize(
    ("named", "tokenizers", "template", "expected"),
    [
        # generation_config's, the tokenizer's, and the template's end of turn
        (["<|im_end|>", "<|endoftext|>"], "<|im_end|>", True, {"<|im_end|>", "<|endoftext|>"}),
        ("<|endoftext|>", "<|im_end|>", True, {"<|im_end|>", "<|endoftext|>"}),
        ("<|im_end|>", "<|im_end|>", True, {"<|im_end|>"}),
        (None, "<|im_end|>", True, {"<|im_end|>"}),
        # a base model: only its template says how turns end
        ("<|endoftext|>", "<|endoftext|>", True, {"<|im_end|>", "<|endoftext|>"}),
        # a tokenizer without a template
        ("<|endoftext|>", "<|endoftext|>", False, {"<|endoftext|>"}),
    ],
)
def test_every_end_token_of_a_checkpoint_counts(
    family: str,
    named: str | list[str] | None,
    tokenizers: str,
    template: bool,
    expected: set[str],
    load_tiny: Load,
) -> None:
    loaded = load_tiny(family)
    known = loaded.tokenizer.get_vocab()
    ids = [known[name] for name in named] if isinstance(named, list) else known.get(named or "")
    loaded.core.generation_config.eos_token_id = ids
    loaded.tokenizer.eos_token = tokenizers
    if not template:
        loaded.processor.chat_template = None  # type: ignore[union-attr]
    again = LoadedModel(loaded.model, loaded.processor, loaded.family)
    assert again.end_ids == {known[name] for name in expected}


@pytest.mark.parametrize(
    "template",
    [
        # turns end with a line end, or with nothing; a template that refuses answers
        "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "{{ raise_exception('one turn only') }}",
    ],
)
def test_a_template_without_an_end_of_turn_ends_nothing(template: str, load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    loaded.tokenizer.chat_template = template
    assert conversation.end_of_turn(loaded.tokenizer) is None


def test_embedding_rows_that_stand_for_no_token_are_banned(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    size = len(loaded.tokenizer)
    # published embeddings are longer than the vocabulary, for their size's sake
    loaded.core.resize_token_embeddings(size + 3)
    again = LoadedModel(loaded.model, loaded.processor, loaded.family)
    assert set(again.banned_ids) - set(loaded.banned_ids) == {size, size + 1, size + 2}
    assert not set(again.banned_ids) & again.end_ids


def test_a_completion_goes_up_to_its_first_end_token(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    loaded.end_ids = frozenset({7, 9})
    assert loaded.until_end([1, 2, 9, 7, 3]) == [1, 2, 9]
    assert loaded.until_end([7]) == [7]
    assert loaded.until_end([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_features_stand_in_the_places_of_image_tokens_in_the_order_of_the_pictures(
    family: str, load_tiny: Load, picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    shown = (picture(56, 84), picture(112, 56, 1))
    encoded = encoding.encode(loaded, Prompt("Which one?", shown))
    with torch.no_grad():
        embedded, _ = loaded.embed(encoded.tokens, encoded.pictures)
        features = torch.cat(list(loaded.encode_pictures(encoded.pictures)))
        words = loaded.token_embedding(encoded.tokens)
    is_image = encoded.tokens == loaded.core.config.image_token_id
    assert len(features) == int(is_image.sum()) == 2 * 3 + 4 * 2
    assert torch.allclose(embedded[is_image], features, atol=1e-6)
    assert torch.equal(embedded[~is_image], words[~is_image])


def test_a_prompt_without_pictures_has_text_positions_along_all_axes(load_tiny: Load) -> None:
    tokens = torch.arange(5)
    expected = [[0, 1, 2, 3, 4]]
    assert load_tiny("qwen2").rope_positions(tokens, None).tolist() == expected
    assert load_tiny("qwen2_vl").rope_positions(tokens, None).tolist() == expected * 3


def test_a_pictures_tokens_are_counted_by_row_and_column(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2_vl")
    image = loaded.core.config.image_token_id
    # a word, a picture of 2 x 3 tokens (4 x 6 patches), a word
    tokens = torch.tensor([1, *[image] * 6, 2])
    positions = loaded.rope_positions(tokens, torch.tensor([[1, 4, 6]]))
    assert positions.tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4],  # time
        [0, 1, 1, 1, 2, 2, 2, 4],  # row
        [0, 1, 2, 3, 1, 2, 3, 4],  # column; the text goes on after the longer side
    ]


@each_family
def test_its_decoder_without_a_layout_is_the_models_own(family: str, load_tiny: Load) -> None:
    loaded = load_tiny(family)
    tokens = torch.arange(5, 12).unsqueeze(0)
    positions = loaded.rope_positions(tokens[0], None).unsqueeze(1)
    with torch.no_grad():
        embedded, _ = loaded.embed(tokens, ())
        hidden = loaded.decoder(embedded, positions)
        expected = loaded.core.model(input_ids=tokens, use_cache=False).last_hidden_state
    assert torch.allclose(hidden, expected, atol=1e-5)
