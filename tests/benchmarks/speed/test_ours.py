"""benchmarks/speed/ours.py: our side is ``vrft.training.step``, with completions of full length."""

from __future__ import annotations

from fakes.race import SETTING, SMALL

from benchmarks.speed import counters, shapes
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions


def test_completions_have_their_full_length_and_given_ones_take_their_place() -> None:
    questions = Questions(SETTING, steps=2)
    ours = Ours(questions, shapes.written(SMALL, "cpu"), "cpu")
    drawn = [questions.samples("train")[index] for index in questions.order()[:2]]
    encoded = ours.policy.encode([questions.prompt(sample) for sample in drawn])
    sampling = ours.run.config.sampling
    sampled = ours.policy.sample(encoded, 4, sampling, [1, 2])
    assert [[len(one.tokens) for one in group] for group in sampled] == [[6] * 4] * 2
    given = [(300, 301), (302,), (303,), (304,)]
    ours.policy.given = {tuple(prompt.tokens.tolist()): given for prompt in encoded}
    replaced = ours.policy.sample(encoded, 4, sampling, [1, 2])
    assert [[one.tokens for one in group] for group in replaced] == [given] * 2
    with counters.recorded(ours, "cpu") as record:
        ours.step()
    assert {tokens: len(logps) for tokens, logps in record.logps.items()} == {
        tokens: len(tokens) for tokens in given
    }
    assert ours.record is None and record.gradient
