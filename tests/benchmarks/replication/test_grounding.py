"""benchmarks/replication/grounding.py: the demo's requests, as many as are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.replication import agenda
from benchmarks.replication.arms import START
from benchmarks.replication.beds import GROUNDING, SCENES
from benchmarks.replication.grounding import Grounding
from vrft import Completion, UserError
from vrft.demo import data
from vrft.demo import grounding as demo


@pytest.fixture(autouse=True)
def small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo have a few pictures."""
    demo.write(tmp_path / "demo", {"train": 6, "test": 4})
    monkeypatch.setattr(data, "folder", lambda task: tmp_path / "demo")


def test_training_requests_are_chosen_by_the_seed_and_held_out_ones_are_the_first() -> None:
    chosen = [[s.id for s in Grounding(rows=4, seed=seed).samples("train")] for seed in (2, 2, 9)]
    assert len(set(chosen[0])) == 4
    assert chosen[0] == chosen[1] != chosen[2]
    held_out = [[s.id for s in Grounding(held_out=n).samples("test")] for n in (2, 3)]
    assert held_out[0] == held_out[1][:2] and len(held_out[1]) == 3


def test_a_prompt_is_the_bare_request_and_the_reference_earns_all() -> None:
    task = Grounding(rows=1)
    (sample,) = task.samples("train")
    assert task.prompt(sample).text == sample.question
    text = task.reference(sample, ())
    assert task.rewards()["iou"](sample, Completion(text)) == pytest.approx(1, abs=0.05)
    assert next(iter(task.score(sample, Completion("nothing")).metrics.items())) == ("iou", 0.0)


@pytest.mark.parametrize("setting", [{"held_out": 0}, {"held_out": 5}])
def test_a_count_that_the_demo_has_not_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UserError, match="split test has 4 requests"):
        Grounding(**setting).samples("test")


def test_the_bed_asks_for_the_headline_claims_of_the_embedded_model() -> None:
    assert [claim.text for claim in GROUNDING.claims] == [
        f"{START} < sft", "sft < grpo", "grpo <= gpg"
    ]  # fmt: skip
    assert (GROUNDING.start / "model.safetensors").is_file()
    assert {trial.arm for trial in agenda.wanted(GROUNDING, {})} == {
        "ceiling", "sft", "grpo", "gpg"
    }  # fmt: skip
    assert "dapo" in {trial.arm for trial in agenda.wanted(SCENES, {})}
