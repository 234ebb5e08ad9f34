"""Pictures, texts and questions of a split: the faults that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.bad_pictures import write_rows
from fakes.pointing import Pointing, sample
from PIL import Image

from vrft.checks.findings import Spread
from vrft.checks.samples import (
    STRIP,
    check_questions,
    open_pictures,
    opened_samples,
    picture_spreads,
)
from vrft.types import Sample
from vrft_tasks.counting import Counting

PIXELS = (4 * 28 * 28, 100 * 28 * 28)


# --- pictures


def test_a_picture_is_opened_once_and_known_by_what_it_shows(tmp_path: Path) -> None:
    noise = Image.effect_noise((60, 2 * STRIP + 1), 50)
    noise.save(tmp_path / "a.png")
    noise.save(tmp_path / "b.bmp")
    changed = noise.copy()
    changed.putpixel((59, 2 * STRIP), 255 - int(noise.getpixel((59, 1024))))  # type: ignore[arg-type]
    changed.save(tmp_path / "c.png")
    paths = [tmp_path / name for name in ("a.png", "b.bmp", "c.png")]
    samples = [sample("1", *paths), sample("2", paths[0])]
    pictures, findings = open_pictures(samples, "train")
    first, second, third = (pictures[str(path)] for path in paths)
    assert not findings.problems
    assert first == second
    assert first.size == third.size and first.digest != third.digest
    opened = opened_samples(samples, pictures, PIXELS)
    assert [sample.pictures for sample in opened] == [(first, second, third), (first,)]


def test_the_same_pixels_in_another_shape_are_another_picture() -> None:
    wide, high = Image.new("RGB", (56, 28)), Image.new("RGB", (28, 56))
    pictures, _ = open_pictures([sample("a", wide, high)], "train")
    assert len({picture.digest for picture in pictures.values()}) == 2


def test_a_picture_that_does_not_open_is_named_with_all_who_need_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("words")
    Image.new("RGB", (2010, 10)).save(tmp_path / "long.png")
    good = Image.new("RGB", (56, 28))
    broken = tmp_path / "a.png"
    samples = [sample("a", broken), sample("b", good), sample("c", good, broken)]
    samples.append(sample("d", tmp_path / "long.png"))
    pictures, findings = open_pictures(samples, "train")
    words, long = findings.problems
    assert "a.png: not a picture" in str(words) and words.ids == ("a", "c")
    assert "2010x10 is too long" in str(long) and long.ids == ("d",)
    assert [opened.sample.id for opened in opened_samples(samples, pictures, PIXELS)] == ["b"]


def test_sizes_and_image_tokens_are_spread_over_pictures_and_samples() -> None:
    one, two = Image.new("RGB", (84, 56)), Image.new("RGB", (280, 280))
    samples = [sample("a", one), sample("b", one, two), sample("c", two)]
    pictures, _ = open_pictures(samples, "train")
    opened = opened_samples(samples, pictures, PIXELS)
    spreads = picture_spreads(pictures.values(), opened)
    assert spreads["picture width"] == Spread(84, 84, 280, 280)
    # 3 x 2, 6 + 100 and 10 x 10
    assert spreads["image tokens"] == Spread(6, 100, 106, 106)
    assert picture_spreads([], []) == {}


def test_pictures_of_one_colour_and_samples_without_one_are_noted(tmp_path: Path) -> None:
    # 16-bit pixels without a value of white, a clear picture, one with a dot, a grey ramp
    clear, ramp = Image.new("RGBA", (56, 28)), Image.linear_gradient("L")
    dotted = Image.new("RGB", (56, 28))
    dotted.putpixel((0, 0), (0, 0, 1))
    samples = [sample("a", clear), sample("b", dotted), sample("c", dotted, clear), sample("d")]
    _, findings = open_pictures([*samples, sample("e", ramp)], "train")
    assert not findings.problems
    assert [str(note) for note in findings.notes] == [
        "2 show a picture of a single colour: a, c",
        "1 have no picture, where others have one: d",
    ]
    assert open_pictures([sample("d")], "train")[1].notes == ()


def test_every_form_of_a_picture_is_opened(tmp_path: Path) -> None:
    noise = Image.effect_noise((56, 28), 50)
    path = tmp_path / "a.png"
    noise.save(path)
    # as a list, as a text, as a single value, as the content of the file
    forms: list[Any] = [[path], (str(path),), path, str(path), path.read_bytes(), noise]
    samples = [Sample(str(n), "Where?", None, form) for n, form in enumerate(forms)]
    pictures, findings = open_pictures(samples, "train")
    assert not findings.problems
    assert len({picture.digest for picture in pictures.values()}) == 1
    assert len(opened_samples(samples, pictures, PIXELS)) == len(forms)


# --- texts


@pytest.mark.parametrize(
    ("question", "problem", "note"),
    [
        ("Where is the owl?", False, False),
        ("Is |a|<|b|>c, or 2<x|y>1 <|?", False, False),
        # the tokenizer makes tokens of these
        ("What is left of <|image_pad|>?", True, False),
        ("end it<|im_end|>", True, False),
        # half an emoji
        ("Where \ud83d?", True, False),
        # a place without a picture
        ("<image>\nWhere is it?", True, False),
        # these are words to Qwen, and a picture's place to other tools
        ("<video>\nWhere is it?", False, True),
        ("<IMAGE>\nWhere is it?", False, True),
        ("<image/>\nWhere is it?", False, True),
        ("Compare <image_1> and <image 2>", False, True),
        # nothing is asked
        (" \n", False, True),
        ("Compare <IMG> with <|vision_start|>", True, True),
    ],
)
def test_tokens_in_questions_are_named(question: str, problem: bool, note: bool) -> None:
    findings = check_questions(Pointing(), [sample("x", question=question), sample("y")])
    assert [finding.ids for finding in findings.problems] == [("x",)] * problem
    assert [finding.ids for finding in findings.notes] == [("x",)] * note


def test_bad_pictures_are_problems_or_left_out_by_the_setting(tmp_path: Path) -> None:
    task = Counting(str(write_rows(tmp_path, 4, bad={1, 2})))
    listed = task.samples("train")
    _, strict = open_pictures(listed, "train")
    assert len(strict.problems) == 2
    assert str(strict.notes[-1]).startswith("2 have a picture that cannot be read; data.on_bad_p")
    _, lenient = open_pictures(listed, "train", skip=True)
    assert lenient.problems == () and len(lenient.notes) == 3
    _, none = open_pictures(listed[1:3], "train", skip=True)  # nothing would be left to train on
    assert len(none.problems) == 2


def test_animations_are_noted(tmp_path: Path) -> None:
    listed = Counting(str(write_rows(tmp_path, 3, bad=()))).samples("train")
    frames = [Image.new("RGB", (56, 56), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].putpixel((0, 0), (9, 9, 9))
    frames[0].save(tmp_path / "p1.png", "GIF", save_all=True, append_images=frames[1:])
    _, findings = open_pictures(listed, "train")
    assert [str(note) for note in findings.notes] == [
        "1 show an animation or a file of several pages, of which the first is read: p1"
    ]
