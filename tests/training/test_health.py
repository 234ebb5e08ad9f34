"""The health of a run: canaries change nothing that it computes, and a fault ends it in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.bigram import CONFIG, run
from fakes.short_runs import SMALL, ready
from safetensors.torch import load_file

from vrft import config
from vrft.diagnosis import alarms, canaries
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy.decode_step import Decoding
from vrft.policy.logprobs import GroupLogps
from vrft.runs.run_log import read_metrics
from vrft.training import health, train
from vrft.training.types import Run


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
    clock = ("time", "step_time")
    with_canaries, without = (
        [
            {k: v for k, v in row.items() if k not in clock}
            for row in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in folders
    )
    assert len(with_canaries) == 3 and with_canaries == without
    first, second = (load_file(folder / "final" / "model.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (folders[0] / alarms.FILE).exists()  # the demo is well


def test_a_healthy_run_is_silent_and_stays_where_it_is(
    demo: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = [module.training for module in demo.policy.module.modules()]
    state = torch.get_rng_state()
    health.try_canaries(demo, tmp_path)
    assert capsys.readouterr().err == "" and list(tmp_path.iterdir()) == []
    assert (demo.progress.step, demo.progress.cursor, demo.progress.num_tokens) == (0, 0, 0)
    assert [module.training for module in demo.policy.module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_a_policy_without_pictures_and_decoding_is_tried_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(CONFIG)
    health.try_canaries(made, tmp_path)
    assert capsys.readouterr().err == ""
    table = next(made.policy.module.parameters())
    table.data[:, :, 0] += 100  # certain of one letter: alike, and without an end
    health.try_canaries(made, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["warning", "answers_alike"],
        ["warning", "answers_endless"],
    ]
    rows = [json.loads(line) for line in (tmp_path / alarms.FILE).read_text().splitlines()]
    assert [(row["step"], row["name"]) for row in rows] == [
        (0, "answers_alike"),
        (0, "answers_endless"),
    ]
    strict = replace(made.config, train=replace(made.config.train, strict=True))
    with pytest.raises(
        UserError, match=r"^before the first update: answers_alike: .*train\.strict"
    ):
        health.try_canaries(replace(made, config=strict), tmp_path)


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model looks at a blank picture whatever it is shown."""
    embed = LoadedModel.embed

    def embed_blank(self: LoadedModel, tokens: Any, pictures: Any) -> Any:
        blank = [replace(p, key=b"0", patches=torch.zeros_like(p.patches)) for p in pictures]
        return embed(self, tokens, blank)

    monkeypatch.setattr(LoadedModel, "embed", embed_blank)


def displaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding counts positions on from another place than training does."""
    begin = Decoding.__init__

    def begin_later(self: Decoding, *given: Any) -> None:
        begin(self, *given)
        self.position += 3

    monkeypatch.setattr(Decoding, "__init__", begin_later)


def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of a batch lean towards each other."""
    forward = GroupLogps.forward

    def mixing(self: GroupLogps, prompts: Any, completions: Any, temperature: float = 1.0) -> Any:
        logps = forward(self, prompts, completions, temperature)
        return logps - 0.1 * (len(prompts) > 1)

    monkeypatch.setattr(GroupLogps, "forward", mixing)


@pytest.mark.parametrize(
    ("fault", "name"),
    [(blind, "pictures_unseen"), (displaced, "sampler_differs"), (mixed, "batch_differs")],
)
def test_a_fault_of_the_model_ends_the_run_before_it_has_begun(
    fault: Any, name: str, demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(UserError, match=f"^before the first update: {name}: ") as caught:
        health.try_canaries(demo, tmp_path)
    assert "\n" not in str(caught.value)
    first = (tmp_path / alarms.FILE).read_text().splitlines()[0]
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
    assert not (folder / alarms.FILE).exists()  # what the first attempt said is gone
    assert capsys.readouterr().err.count("pictures_unseen") == 0


def test_settings_that_make_answers_alike_endless_or_of_another_space_are_warned_of(
    demo: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = replace(demo.config.sampling, top_k=1, max_completion_length=3)
    task = replace(demo.task, coordinates="pixels")
    wrong = replace(demo, config=replace(demo.config, sampling=sampling), task=task)
    health.try_canaries(wrong, tmp_path)
    names = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert names == ["answers_alike", "answers_endless", "coordinate_space"]


def test_a_prompt_that_cannot_be_read_is_left_to_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Run, place: int) -> Any:
        raise UserError("no such picture")

    monkeypatch.setattr(health, "draw", refuse)
    monkeypatch.setattr(canaries, "measure", None)  # not reached
    health.try_canaries(run(CONFIG), tmp_path)
