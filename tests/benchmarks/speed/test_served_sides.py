"""benchmarks/speed/served_sides.py: both sides sample the same, from weights that can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fakes.race import SETTING
from torch import nn

from benchmarks.speed import served_sides
from benchmarks.speed.contestant import Record
from vrft.engines.requests import BAN
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.types import Rollout

LOADED = cast(Any, SimpleNamespace(banned_ids=(7, 3), end_ids=frozenset({5, 3})))


def test_no_end_is_sampled_on_either_side() -> None:
    assert served_sides.never_sampled(LOADED) == (3, 5, 7)
    side = object.__new__(served_sides.Colocated)
    settings = side.sampling(SETTING, LOADED)
    # what HF's generation calls suppress_tokens is no word of vLLM's
    assert settings["banned"] == ()
    assert settings["generation_kwargs"] == {"logit_bias": {3: BAN, 5: BAN, 7: BAN}}


def test_a_model_whose_weights_are_freed_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    served_sides.require_weights(model)
    model[1].weight = nn.Parameter(torch.empty(0))
    with pytest.raises(UserError, match=r"1\.weight and 0 more weights in float16"):
        served_sides.require_weights(model)


def test_a_copy_of_the_model_declares_the_precision(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    config = {"dtype": "float32", "hidden_size": 8}
    (tmp_path / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
    copy = served_sides.declared(tmp_path / "model", tmp_path / "copy")
    assert json.loads((copy / "config.json").read_text("utf-8")) == config | {"dtype": "float16"}
    assert json.loads((tmp_path / "model/config.json").read_text("utf-8")) == config


def test_the_distance_is_the_largest_of_all_tokens() -> None:
    logps = {(1, 2): torch.tensor([-1.0, -2.0]), (3,): torch.tensor([-4.0])}
    sampled = {(1, 2): (-1.0, -2.5), (3,): (-4.25,)}
    assert served_sides.distance(Record(logps=logps), sampled) == pytest.approx(0.5)


def test_given_completions_replace_sampled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come with the log-probabilities of the engine that has sampled them."""
    engine: Any = object.__new__(served_sides.TimedEngine)
    monkeypatch.setattr(VllmEngine, "sample", lambda *_: ["sampled"])
    rollout = Rollout(cast(Any, None), (3, 4), False)
    engine.policy = SimpleNamespace(rollout=lambda tokens, prompt: rollout)
    parts: list[str] = []
    engine.side = SimpleNamespace(clock=Parts(parts))
    prompt = SimpleNamespace(tokens=torch.tensor([1, 2]))
    engine.given = {}
    assert engine.sample([prompt], 1, None, [0]) == ["sampled"]
    engine.given = {(1, 2): [((3, 4), (-0.5, -1.5))]}
    ((given,),) = engine.sample([prompt], 1, None, [0])
    assert given.tokens == (3, 4) and given.logprobs == (-0.5, -1.5)
    assert parts == ["rollout", "rollout"]


class Parts:
    """A clock that notes the parts of a step, and is a context itself."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def during(self, part: str) -> Parts:
        self.noted.append(part)
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
