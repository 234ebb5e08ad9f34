"""``vrft.load``: a model in memory that is asked questions."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from fakes.colour_rows import ROWS

import vrft
from vrft import config
from vrft.api import model
from vrft.config.rollout import SamplingConfig
from vrft.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))


def test_the_examples_of_the_docstrings_are_true() -> None:
    result = doctest.testmod(model)
    assert result.attempted > 6 and result.failed == 0


def test_a_policy_answers_with_places_system_and_turns() -> None:
    model = vrft.load("demo")
    picture = ROWS[0]["images"][0]  # type: ignore[index]
    options: dict[str, Any] = {"max_completion_length": 8}
    turns = [vrft.Turn("user", "Look."), vrft.Turn("assistant", "Yes.")]
    first = model.answer("Here <image> or here <image>?", picture, picture, **options)
    again = model.answer("Here <image> or here <image>?", picture, picture, **options)
    assert first == again
    assert len(model.generate("Who?", n=2, system="Be brief.", turns=turns, **options)) == 2
    with pytest.raises(UserError, match=r"did you mean sampling\.temperature"):
        model.generate("Who?", temprature=1)


def test_a_model_of_a_run_may_write_as_long_as_in_its_training(tmp_path: Path) -> None:
    asked: list[SamplingConfig] = []

    class Recorder:
        def generate(self, prompts: Any, n: int, sampling: SamplingConfig, seeds: Any) -> Any:
            asked.append(sampling)
            return [()]

    trained = config.load(None, ["sampling.max_completion_length=2048"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(trained), encoding="utf-8")
    for name in (str(tmp_path / "final"), "demo"):
        made = model.LoadedPolicy(Recorder(), config.ModelConfig(name=name))  # type: ignore[arg-type]
        made.generate("Who?")
        made.generate("Who?", max_completion_length=8)
    assert [sampling.max_completion_length for sampling in asked] == [2048, 8, 256, 8]


def test_earlier_messages_are_turns_or_mappings_as_trl_has_them() -> None:
    model = vrft.load("demo")
    options: dict[str, Any] = {"max_completion_length": 8}
    turns = [vrft.Turn("user", "Look."), vrft.Turn("assistant", "Yes.")]
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "Yes."},
    ]
    assert model.answer("Who?", turns=turns, **options) == model.answer(
        "Who?", turns=messages, **options
    )


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        # no answers; fewer; a half; a truth value
        ({"n": 0}, "n: expected at least 1, got 0"),
        ({"n": -1}, "n: expected at least 1, got -1"),
        ({"n": 1.5}, "n: expected int, got 1.5"),
        ({"n": True}, "n: expected int, got True"),
        ({"seed": None}, "seed: expected int, got None"),
        ({"seed": 2**80}, "seed: expected at least"),
        ({"system": 3}, "system: expected a text, got 3"),
        ({"temprature": {}}, r"did you mean sampling\.temperature"),
        # a single message; another role; parts; something that would be left out; no message
        ({"turns": {"role": "user", "content": "x"}}, "turns: expected a list of messages"),
        ({"turns": [{"role": "system", "content": "x"}]}, r"the role \(user or assistant\)"),
        ({"turns": [{"role": "user", "content": [{"text": "x"}]}]}, "the content, a text"),
        ({"turns": [{"role": "user", "content": "x", "images": ["a"]}]}, "turns: expected"),
        ({"turns": ["x"]}, "turns: expected vrft.Turn.*got 'x'"),
        ({"turns": [vrft.Turn("tool", "x")]}, "turns: expected"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict[str, Any], complaint: str) -> None:
    model = vrft.load("demo")
    with pytest.raises(UserError, match=complaint):
        model.generate("Who?", **given)
    with pytest.raises(UserError, match="question: expected a text, got 3"):
        model.generate(3)  # type: ignore[arg-type]
