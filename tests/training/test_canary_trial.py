"""The canaries' trial: it changes nothing that a run computes, and a fault ends the run in time.

A dry run tries the gold answers that the run itself would try, and refuses what it refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes.bigram import CONFIG, BigramPolicy, Echo, run
from fakes.short_runs import SMALL, ready, without_clock
from fakes.wrong_runs import blind, displaced, mixed
from safetensors.torch import load_file

from vrft import config
from vrft.diagnosis import canaries
from vrft.errors import PictureError, UserError
from vrft.runs.run_log import WARNINGS
from vrft.training import canary_trial, train
from vrft.training.run import Run
from vrft.training.stream import coming_prompts
from vrft.types import Completion, Sample, View

# --- of a run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The demo before its first step, which no test takes."""
    made = ready(tmp_path_factory.mktemp("demo") / "run")
    yield made
    made.close()


def test_canaries_change_neither_metrics_nor_weights(tmp_path: Path) -> None:
    folders = []
    for name in ("true", "false"):
        settings = [*SMALL, f"train.output_dir={tmp_path / name}", f"train.canaries={name}"]
        folders.append(train.train(config.load("demo/lisa_grounding", settings)))
    with_canaries, without = map(without_clock, folders)
    assert len(with_canaries) == 3 and with_canaries == without
    first, second = (load_file(folder / "final" / "model.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (folders[0] / WARNINGS).exists()  # the demo is well


def test_a_healthy_run_is_silent_and_stays_where_it_is(
    demo: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = [module.training for module in demo.policy.module.modules()]
    state = torch.get_rng_state()
    canary_trial.try_canaries(demo, tmp_path)
    assert capsys.readouterr().err == "" and list(tmp_path.iterdir()) == []
    assert (demo.progress.step, demo.progress.cursor, demo.progress.num_tokens) == (0, 0, 0)
    assert [module.training for module in demo.policy.module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_a_policy_without_pictures_and_decoding_is_tried_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(CONFIG)
    canary_trial.try_canaries(made, tmp_path)
    assert capsys.readouterr().err == ""
    table = next(made.policy.module.parameters())
    table.data[:, :, 0] += 100  # certain of one letter: alike, and without an end
    canary_trial.try_canaries(made, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["warning", "answers_alike"],
        ["warning", "answers_endless"],
    ]
    rows = [json.loads(line) for line in (tmp_path / WARNINGS).read_text().splitlines()]
    assert [(row["step"], row["name"]) for row in rows] == [
        (0, "answers_alike"),
        (0, "answers_endless"),
    ]
    strict = replace(made.config, train=replace(made.config.train, strict=True))
    with pytest.raises(
        UserError, match=r"^before the first update: answers_alike: .*train\.strict"
    ):
        canary_trial.try_canaries(replace(made, config=strict), tmp_path)


@pytest.mark.parametrize(
    ("fault", "name"),
    [(blind, "pictures_unseen"), (displaced, "sampler_differs"), (mixed, "batch_differs")],
)
def test_a_fault_of_the_model_ends_the_run_before_it_has_begun(
    fault: Any, name: str, demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(UserError, match=f"^before the first update: {name}: ") as caught:
        canary_trial.try_canaries(demo, tmp_path)
    assert "\n" not in str(caught.value)
    first = (tmp_path / WARNINGS).read_text().splitlines()[0]
    assert json.loads(first)["name"] == name


def test_a_run_that_a_canary_ends_leaves_its_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*SMALL, f"train.output_dir={tmp_path / 'run'}", "train.max_steps=1"]
    with monkeypatch.context() as faulty:
        blind(faulty)
        with pytest.raises(UserError, match="pictures_unseen"):
            train.train(config.load("demo/lisa_grounding", settings))
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
    folder = train.train(config.load("demo/lisa_grounding", settings))
    assert not (folder / WARNINGS).exists()  # what the first attempt said is gone
    assert capsys.readouterr().err.count("pictures_unseen") == 0


def test_settings_that_make_answers_alike_endless_or_of_another_space_are_warned_of(
    demo: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = replace(demo.config.sampling, top_k=1, max_completion_length=3)
    task = replace(demo.task, coordinates="pixels")
    wrong = replace(demo, config=replace(demo.config, sampling=sampling), task=task)
    canary_trial.try_canaries(wrong, tmp_path)
    names = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert names == ["answers_alike", "answers_endless", "coordinate_space"]


def test_a_prompt_that_cannot_be_read_is_left_to_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Run, place: int) -> Any:
        raise UserError("no such picture")

    monkeypatch.setattr(canary_trial, "draw", refuse)
    monkeypatch.setattr(canaries, "measure", None)  # not reached
    canary_trial.try_canaries(run(CONFIG), tmp_path)


# --- of a dry run


@dataclass(frozen=True)
class Silent(Echo):
    """A task whose gold answers earn nothing; it takes down of which samples it is asked."""

    asked: list[str] = field(default_factory=list)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        self.asked.append(sample.id)
        return "?"


@dataclass(frozen=True)
class Half(Echo):
    """A task whose reward gives half for the right answer."""

    def rewards(self) -> Any:
        return {"half": half}


def half(sample: Sample[str], completion: Completion) -> float:
    return 0.5


def tried(task: Any, process: int = 0, **train: object) -> int:
    settings: Any = replace(CONFIG, train=replace(CONFIG.train, **train))  # type: ignore[arg-type]
    accelerator: Any = SimpleNamespace(process_index=process, is_main_process=process == 0)
    samples = task.samples("train")
    return canary_trial.try_gold_answers(settings, task, samples, BigramPolicy(), accelerator)


def test_gold_answers_that_earn_full_reward_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tried(Echo()) == 2
    assert tried(Echo(), per_device_train_batch_size=1) == 1
    assert capsys.readouterr().err == ""


def test_a_gold_answer_that_earns_nothing_is_refused_as_the_run_refuses_it() -> None:
    with pytest.raises(UserError, match=r"^before the first update: gold_answer: .*earns nothing"):
        tried(Silent())


def test_the_samples_are_those_of_the_runs_first_step() -> None:
    first = [drawn.sample.id for drawn in coming_prompts(run(CONFIG))]
    asked: list[str] = []
    with pytest.raises(UserError):
        tried(Silent(asked=asked))
    assert asked == first[:1]


def test_a_gold_answer_that_earns_less_is_warned_of_and_refused_where_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tried(Half()) == 2
    assert capsys.readouterr().err.startswith("warning: gold_answer: ")
    assert tried(Half(), process=1) == 2  # one process speaks for all
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"earns less than 1 .*train\.strict=true makes an error"):
        tried(Half(), strict=True)
    assert capsys.readouterr().err == ""


def test_a_picture_of_the_first_step_that_cannot_be_read_is_refused() -> None:
    class Blind(BigramPolicy):
        def encode(self, prompts: Any, max_length: int | None = None) -> list[int]:
            raise PictureError("a picture of 250:1")

    accelerator: Any = SimpleNamespace(process_index=0, is_main_process=True)
    samples = Echo().samples("train")
    with pytest.raises(UserError, match="250:1"):
        canary_trial.try_gold_answers(CONFIG, Echo(), samples, Blind(), accelerator)
