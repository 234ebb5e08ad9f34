"""benchmarks/speed/theirs.py: TRL's side reads the same task in the same order."""

from __future__ import annotations

from fakes.race import SETTING, SMALL

from benchmarks.speed import shapes, theirs
from benchmarks.speed.questions import Questions


def test_the_data_set_has_the_samples_in_their_order_with_their_pictures() -> None:
    questions = Questions(SETTING, steps=2)
    samples = [questions.samples("train")[index] for index in questions.order()]
    table = theirs.dataset(questions, samples)
    assert table["sample_id"] == [sample.id for sample in samples]
    first = table[0]
    assert first["prompt"] == [{"role": "user", "content": samples[0].question}]
    assert first["images"] == [samples[0].images[0]]


def test_the_processor_pads_on_the_left() -> None:
    processor = theirs.load_processor(shapes.written(SMALL, "cpu"))
    assert processor.tokenizer.padding_side == "left"
