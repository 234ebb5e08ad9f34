"""The sizes of prompts from the headers of their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.step_plans import lengths, shape
from vrft.types import Prompt, Sample, Turn


@dataclass(frozen=True)
class Asked:
    """A task that asks for what is in the pictures."""

    def prompt(self, sample: Sample[Any]) -> Prompt:
        return Prompt("What is in it?", images=sample.images)


def test_pictures_count_in_the_squares_of_the_family(
    tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    file = tmp_path / "a.png"
    picture(320, 640).save(file)
    sample = Sample(id="a", question="", answer=None, images=(file,))
    task: Any = Asked()
    # 320 x 640 is 10 x 20 squares of 32 pixels, and 11 x 23 of 28
    for name, tokens in (("Qwen/Qwen3-VL-2B-Instruct", 200), ("Qwen/Qwen2-VL-2B-Instruct", 253)):
        measured = lengths.read(task, [sample], shape.read(name), ModelConfig(), None)
        assert measured.image_tokens(measured.longest) == tokens
        assert measured.estimated
        assert "bytes a token" in measured.line()


def test_a_picture_without_a_header_names_its_sample_or_is_counted(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    good, bad = (
        Sample(id=name, question="", answer=None, images=(tmp_path / f"{name}.png",))
        for name in ("good", "bad")
    )
    task: Any = Asked()
    model = shape.read("Qwen/Qwen3-VL-2B-Instruct")
    with pytest.raises(UserError, match="sample 'bad'"):
        lengths.read(task, [good, bad], model, ModelConfig(), None)
    measured = lengths.read(task, [good, bad], model, ModelConfig(), None, skip=True)
    assert (len(measured.prompts), measured.skipped) == (1, 1)


def test_bytes_are_counted_of_every_part_of_a_prompt() -> None:
    prompt = Prompt("a" * 40, system="b" * 80, prefill="c" * 8, turns=(Turn("user", "é" * 60),))
    # 40 + 80 + 8 bytes, and 60 letters of two: 248
    assert lengths.words(prompt, None) == 248 // 4 + lengths.TEMPLATE_TOKENS


def test_the_largest_area_of_the_settings_holds() -> None:
    model = shape.read("Qwen/Qwen2.5-VL-3B-Instruct")
    settings = replace(ModelConfig(), max_pixels=512 * 28**2)
    measured = lengths.of_sizes([(4000, 3000)], 50, model, settings)
    assert 400 < measured.image_tokens(measured.longest) <= 512
