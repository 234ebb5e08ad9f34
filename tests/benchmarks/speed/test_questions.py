"""benchmarks/speed/questions.py: samples that differ, and have the same number of tokens."""

from __future__ import annotations

from dataclasses import replace

from fakes.race import SETTING, SMALL

from benchmarks.speed import shapes
from benchmarks.speed.questions import Questions, lottery
from vrft.models import processors
from vrft.training.stream import shuffled_index
from vrft.types import Completion


def test_questions_are_drawn_once_each_and_are_all_different() -> None:
    questions = Questions(replace(SETTING, prompts=4), steps=3)
    samples = questions.samples("train")
    assert sorted(questions.order()) == list(range(12))
    assert questions.order()[5] == shuffled_index(12, 42, 5)
    assert len({sample.question for sample in samples}) == 12
    assert len({sample.images[0].tobytes() for sample in samples}) == 12
    assert samples[0].images[0].size == (4 * 28, 3 * 28)


def test_every_question_has_as_many_tokens() -> None:
    tokenizer = processors.load_processor(str(shapes.written(SMALL, "cpu"))).tokenizer
    samples = Questions(SETTING, steps=8).samples("train")
    assert len({len(tokenizer(sample.question).input_ids) for sample in samples}) == 1


def test_rewards_differ_with_the_text_alone() -> None:
    sample = Questions(SETTING, steps=1).samples("train")[0]
    values = [lottery(sample, Completion(text)) for text in ("a", "b", "a")]
    assert values[0] == values[2] != values[1] and all(0 <= value < 1 for value in values)
