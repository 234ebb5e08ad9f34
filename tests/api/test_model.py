"""``vrft.load``: a model in memory that is asked questions."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from fakes.colour_rows import ROWS

import vrft
from vrft.api import model
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
