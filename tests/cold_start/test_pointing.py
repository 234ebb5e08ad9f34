"""Lessons in pointing, and the embedded model that was taught by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from vrft import answers, policy
from vrft.boxes import Box, iou
from vrft.cold_start import pointing
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.demo import scenes
from vrft.demo.instructions import instructions
from vrft.demo.scenes import Scene
from vrft.paths import EMBEDDED
from vrft.types import Prompt, View

VIEW = (View(112, 112),)

CAREFUL = replace(pointing.STAGES[1], carelessness=0.0)


def drawn(count: int) -> Iterator[tuple[np.random.Generator, Scene]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng, scenes.compose(rng)


def test_an_answer_names_and_marks_one_object_in_numbers_of_one_token() -> None:
    for _, scene in drawn(10):
        for index, marked in enumerate(scene.objects):
            text = pointing.answer(scene, index, 1.0, VIEW)
            assert text.startswith(f"<think>the {marked.name}</think>\n<answer>(")
            box = Box.parse(answers.last_answer(text) or "", VIEW[0])
            assert box is not None
            x1, y1, x2, y2 = marked.box
            # Rounding moves an edge by at most 10 thousandths of boxes no smaller than 250.
            assert iou(box, Box(x1 / 112, y1 / 112, x2 / 112, y2 / 112)) > 0.8
            assert all(round(v * 1000) % 20 == 0 for v in (box.x1, box.y1, box.x2, box.y2))


def test_a_sloppy_annotator_draws_boxes_too_wide_and_too_high_within_the_picture() -> None:
    # Of 100 pixels: 20..60 is 40 wide, 60 when half as wide again, about the middle 40.
    assert pointing.stretched(20, 60, 1.5, 100) == pytest.approx((0.10, 0.70))
    assert pointing.stretched(0, 40, 1.5, 100) == pytest.approx((0.0, 0.50))
    assert pointing.stretched(60, 100, 1.5, 100) == pytest.approx((0.50, 1.0))
    assert pointing.stretched(20, 60, 1.0, 100) == pytest.approx((0.20, 0.60))


def test_a_careful_annotator_marks_what_is_asked_for() -> None:
    for rng, scene in drawn(20):
        for text, marked in pointing.annotate(rng, CAREFUL, scene):
            assert text in [asked.text for asked in instructions(scene.objects, marked)]


def test_a_careless_annotator_marks_the_largest_object_as_often_as_said() -> None:
    careless = replace(CAREFUL, carelessness=0.7, lessons_per_scene=10)
    largest = asked = 0
    for rng, scene in drawn(60):
        for text, marked in pointing.annotate(rng, careless, scene):
            for_largest = instructions(scene.objects, scene.most_salient)
            if text not in [instruction.text for instruction in for_largest]:
                asked += 1
                largest += marked == scene.most_salient
    # Some 380 requests for another object: 0.7 within three standard errors of 0.024.
    assert asked > 300
    assert 0.62 < largest / asked < 0.78


def test_all_kinds_are_asked_equally_often() -> None:
    asked = replace(CAREFUL, lessons_per_scene=10)
    kinds = {"class": 0, "relation": 0, "use": 0}
    for rng, scene in drawn(60):
        kind_of = {
            instruction.text: instruction.kind
            for index in range(len(scene.objects))
            for instruction in instructions(scene.objects, index)
        }
        for text, _ in pointing.annotate(rng, asked, scene):
            kinds[kind_of[text]] += 1
    assert min(kinds.values()) > 120  # of 600; few scenes lack a kind


def test_the_embedded_model_answers_in_good_form() -> None:
    model = policy.load(ModelConfig(name="demo"), device="cpu")
    prompts = [Prompt("Find it.", (scene.image,)) for _, scene in drawn(12)]
    sampling = SamplingConfig(temperature=0.0, max_completion_length=32)
    texts = [rows[0].completion.text for rows in model.generate(prompts, 1, sampling, range(12))]
    readable = [Box.parse(answers.last_answer(text) or "", VIEW[0]) for text in texts]
    assert sum(box is not None for box in readable) >= 11


def test_the_embedded_model_is_small() -> None:
    size = sum(path.stat().st_size for path in EMBEDDED["demo"].iterdir())
    assert size < 16e6


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "README.md"])
def test_the_embedded_model_has_all_its_files(name: str) -> None:
    assert (EMBEDDED["demo"] / name).is_file()
