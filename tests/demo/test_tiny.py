"""Tiny tokenizer and tiny models: short words, Qwen's format, and positions that differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from vrft.demo import tiny, tiny_configs
from vrft.demo.instructions import CATEGORIES, CLASSES, USES
from vrft.models import families

FAMILIES = [name for name, family in families.FAMILIES.items() if family.has_vision]


@pytest.mark.parametrize(
    "text",
    [
        "Find the owl.",
        "(7,735),(1001,20)",  # numbers that are no multiples of 20
        "007 120a 1 20 ",  # digits that stand beside other digits or letters
        "naïve 日本語 🦉\t\r\n",  # bytes
        "<think>a</think><answer>b</answer>",
    ],
)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    words = tiny.tokenizer()
    assert words.decode(words(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("340", ["340"]),  # a multiple of 20 is one token
        ("1000", ["1000"]),
        ("341", ["3", "4", "1"]),  # any other number is spelled
        ("1340", ["1", "3", "4", "0"]),  # a part of a number is not a number
        ("<think>the owl</think>", ["<think>", "the", "Ġowl", "</think>"]),
        ("(20,40),(60,80)", ["(", "20", ",", "40", "),(", "60", ",", "80", ")"]),
    ],
)
def test_what_is_one_token(text: str, tokens: list[str]) -> None:
    assert tiny.tokenizer().tokenize(text) == tokens


def test_every_word_of_the_demo_is_one_token() -> None:
    words = {word for phrase in (*CLASSES, *CATEGORIES, *USES) for word in phrase.split()}
    assert [word for word in sorted(words) if len(tiny.tokenizer().tokenize(f" {word}")) > 1] == []


def test_the_chat_template_is_qwens() -> None:
    content: Any = [{"type": "image"}, {"type": "text", "text": "Find it."}]
    text = tiny.tokenizer().apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|vision_end|>Find it.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_seed_makes_the_weights_and_nothing_else_random() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (tiny.build(seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_configuration_names_the_tokenizers_ids(family: tiny_configs.Family) -> None:
    model, _ = tiny.build(family)
    words = tiny.tokenizer(family=family)
    assert words.decode([model.config.image_token_id]) == "<|image_pad|>"
    assert words.decode([model.config.video_token_id]) == "<|video_pad|>"
    assert words.decode([model.config.vision_start_token_id]) == "<|vision_start|>"
    ends = [words.decode([i]) for i in model.generation_config.eos_token_id]
    assert ends == ["<|im_end|>", "<|endoftext|>"]
    assert model.get_output_embeddings().weight.shape[0] == len(words)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("axis", [0, 1, 2], ids=["time", "rows", "columns"])
def test_one_step_along_each_axis_can_be_told(family: tiny_configs.Family, axis: int) -> None:
    model, _ = tiny.build(family)
    positions = torch.zeros(3, 1, 2, dtype=torch.long)
    positions[axis, 0, 1] = 1
    _, sine = model.model.language_model.rotary_emb(torch.zeros(1), positions)
    assert sine[0, 0].abs().max() == 0
    # With rope_theta = 1e6 and three chunks of frequencies, the fastest of a column's would be
    # 1e6 ** (-10 / 16) = 0.0002.
    assert sine[0, 1].abs().max() > 0.2


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_loads_what_is_written(
    family: tiny_configs.Family, tmp_path: Path
) -> None:
    folder = tiny.write(tmp_path / family, family)
    model, processor = tiny.build(family)
    inputs = processor(
        text=["<|vision_start|><|image_pad|><|vision_end|>Find it. 340"],
        images=[Image.new("RGB", (112, 84), "red")],
        return_tensors="pt",
    )
    loaded = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        # experts, saved one by one and joined again, add up in another order
        assert torch.allclose(loaded(**inputs).logits, model(**inputs).logits, atol=1e-5)
    words = AutoTokenizer.from_pretrained(folder)
    assert words.get_vocab() == tiny.tokenizer(family=family).get_vocab()
    assert words("Find it. 340").input_ids == processor.tokenizer("Find it. 340").input_ids
    pictures = AutoImageProcessor.from_pretrained(folder)
    side = 2 * tiny_configs.patch_size(family)  # of an image token
    drawn = Image.new("RGB", (4 * side, 3 * side))
    assert pictures(images=[drawn])["image_grid_thw"].tolist() == [[1, 6, 8]]
    saved = json.loads((folder / "processor_config.json").read_text())
    assert saved["processor_class"] == families.FAMILIES[family].processor


def test_the_demo_model_has_the_size_it_says() -> None:
    model, _ = tiny.build(size=tiny.DEMO_SIZE)
    assert 1.5e6 < sum(p.numel() for p in model.parameters()) < 1.7e6
