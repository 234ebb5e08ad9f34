"""Supervised fine-tuning: what is in the batch, and that a run can be stopped and gone on with."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.folders import FAKES
from PIL import Image
from transformers import TrainerState

from vrft import models
from vrft.config.schema import Config, ModelConfig, TaskConfig, TrainConfig
from vrft.errors import UserError
from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.training import checkpoint, sft
from vrft.training.run_log import read_metrics
from vrft.training.sft import IGNORED, Collator, Lesson
from vrft.types import Prompt, Turn, View

LETTERS = str(FAKES / "letters_task.py")

Load = Callable[..., LoadedModel]
Picture = Callable[..., Image.Image]


TURNS = (Turn("user", "This is <image>the key."), Turn("assistant", "Yes."))


def lessons(family: str, picture: Picture) -> list[Lesson]:
    """Prompts with one picture, two of other sizes, and none; answers of other lengths."""
    if family == "qwen2":
        return [Lesson(Prompt("Where?"), lambda views: "(20,40)"), Lesson(Prompt("Find it."), str)]
    return [
        Lesson(Prompt("Where is it?", (picture(56, 84),)), lambda views: "(20,40),(60,80)"),
        Lesson(Prompt("Where?", (picture(112, 56, 1), picture(84, 140, 2))), lambda views: "here"),
        Lesson(Prompt("No picture.", system="Be brief."), lambda views: ""),
        Lesson(
            Prompt("And <image>?", (picture(56, 84), picture(84, 56)), turns=TURNS),
            lambda views: "an owl",
        ),
    ]


def batch_of(loaded: LoadedModel, made: list[Lesson]) -> dict[str, torch.Tensor]:
    return Collator(loaded, made, None)([{"row": row} for row in range(len(made))])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_a_batch_is_the_one_that_the_models_own_processor_makes(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    """Of prompts and answers in one text, all rows in one call."""
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    views = [encoding.encode(loaded, lesson.prompt).views for lesson in made]
    texts = [
        encoding.render(loaded.processor, lesson.prompt) + lesson.answer(seen) + "<|im_end|>"
        for lesson, seen in zip(made, views, strict=True)
    ]
    images = [image for lesson in made for image in lesson.prompt.images]
    options: dict[str, Any] = {"images": images} if images else {}
    stock = loaded.processor(
        text=texts, padding=True, padding_side="right", return_tensors="pt", **options
    )
    assert batch.keys() == {*stock, "labels"}
    for name in stock:
        assert torch.equal(batch[name], stock[name]), name


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_labels_are_the_answers_with_their_end(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    for row, lesson in enumerate(made):
        prompt = encoding.encode(loaded, lesson.prompt)
        start, end = len(prompt.tokens), int(batch["attention_mask"][row].sum())
        answer = [int(token) for token in batch["labels"][row, start:end]]
        assert loaded.tokenizer.decode(answer) == f"{lesson.answer(prompt.views)}<|im_end|>"
        assert answer == batch["input_ids"][row, start:end].tolist()
        assert (batch["labels"][row, :start] == IGNORED).all()
        assert (batch["labels"][row, end:] == IGNORED).all()


def test_a_picture_is_prepared_once_for_all_epochs(
    load_tiny: Load, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen2_vl")
    made = lessons("qwen2_vl", picture)
    first = batch_of(loaded, made)
    monkeypatch.setattr(encoding, "open_image", lambda source: 1 / 0)
    second = batch_of(loaded, made)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_loss_is_that_of_the_answers_log_probabilities(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    """Against the trainer's shared-prefix log-probabilities of the same tokens."""
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    with torch.no_grad():
        loss = loaded.core(**batch, use_cache=False).loss
        encoded = [encoding.encode(loaded, lesson.prompt) for lesson in made]
        answers = [[[int(t) for t in row[row != IGNORED]]] for row in batch["labels"]]
        logps = GroupLogps(loaded)(encoded, answers, 1.0)
    count = sum(len(answer) for (answer,) in answers)
    assert loss.item() == pytest.approx(-logps.sum().item() / count, rel=1e-5)


def test_an_answer_is_made_for_the_views_of_its_own_pictures(
    load_tiny: Load, picture: Picture
) -> None:
    loaded = load_tiny("qwen2_5_vl")
    seen: list[tuple[View, ...]] = []

    def answer(views: tuple[View, ...]) -> str:
        seen.append(views)
        return "yes"

    one, two = picture(56, 84), picture(84, 56)
    batch_of(loaded, [Lesson(Prompt("?", images), answer) for images in ((one,), (), (two, one))])
    tall, wide = View(56, 84, "pixels"), View(84, 56, "pixels")
    assert seen == [(tall,), (), (wide, tall)]


def test_what_the_prompt_opens_is_not_learnt_again(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    prompt = Prompt("Where?", prefill="<think>")
    batch = batch_of(loaded, [Lesson(prompt, lambda views: "<think>the owl</think>")])
    learnt = batch["labels"][0]
    assert loaded.tokenizer.decode(learnt[learnt != IGNORED]) == "the owl</think><|im_end|>"
    assert str(loaded.tokenizer.decode(batch["input_ids"][0])).endswith(
        "<think>the owl</think><|im_end|>"
    )


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        # the same line as in training by reward
        ("an <|image_pad|>", "", r"the prompt 'an <\|image_pad\|>' has the special token"),
        ("half \ud83d", "", r"half a character \(\\ud83d\) in its question"),
        # an answer that ends in its middle, and one that no tokenizer takes
        ("Where?", "here<|im_end|>there", r"the answer 'here.*' has the special token <\|im_end"),
        ("Where?", "half \ude00", r"half a character \(\\ude00\) in it"),
    ],
)
def test_letters_that_are_no_words_are_refused(
    question: str, answer: str, said: str, load_tiny: Load
) -> None:
    with pytest.raises(UserError, match=said):
        batch_of(load_tiny("qwen2_vl"), [Lesson(Prompt(question), lambda views: answer)])


def test_a_prompt_over_the_limit_is_refused(load_tiny: Load, picture: Picture) -> None:
    loaded = load_tiny("qwen2_vl")
    made = [Lesson(Prompt("Where?", (picture(112, 112),)), str)]
    length = len(encoding.encode(loaded, made[0].prompt).tokens)
    Collator(loaded, made, length)([{"row": 0}])
    with pytest.raises(UserError, match="max_prompt_length"):
        Collator(loaded, made, length - 1)([{"row": 0}])


def config(model: Path, folder: Path, **settings: object) -> Config:
    """Four steps on twelve samples whose answer is the alphabet."""
    train = TrainConfig(
        output_dir=str(folder),
        max_steps=4,
        per_device_train_batch_size=4,
        learning_rate=3e-3,
        save_steps=2,
    )
    return Config(
        task=TaskConfig(LETTERS),
        model=ModelConfig(name=str(model)),
        train=replace(train, **settings),  # type: ignore[arg-type]
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_run_learns_and_leaves_a_model_and_its_metrics(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = replace(
        config(model_folder("qwen2_vl"), tmp_path / "run", max_steps=6),
        eval=replace(Config().eval, split="val", limit=2),
        sampling=replace(Config().sampling, max_completion_length=8),
    )
    folder = sft.train(settings)
    rows = read_metrics(folder / "metrics.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2
    assert [row["step"] for row in rows if "eval_different" in row] == [6]
    assert (folder / "config.yaml").is_file()
    assert models.load_model(ModelConfig(name=str(folder / "final"))).family.space == "thousandths"
    before, after = weights(model_folder("qwen2_vl")), weights(folder / "final")
    assert before.keys() == after.keys()
    assert not any(
        torch.equal(before[name], after[name]) for name in before if "qkv.weight" in name
    )


def test_a_run_that_goes_on_ends_with_the_weights_of_one_never_stopped(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = config(model_folder("qwen2_vl"), tmp_path / "run")
    whole = weights(sft.train(settings) / "final")
    for name in ("final", "checkpoint-4"):
        shutil.rmtree(tmp_path / "run" / name)
    folder = sft.train(settings, resume=tmp_path / "run")
    again = weights(folder / "final")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    steps = [row["step"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]
    assert steps == [1, 2, 3, 4]


def test_sigterm_saves_and_exits(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(model_folder("qwen2_vl"), tmp_path / "run", save_steps=100)
    make, made = sft.pad_right, []

    def pad_right(*args: Any) -> dict[str, torch.Tensor]:
        made.append(args)
        if len(made) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(*args)

    monkeypatch.setattr(sft, "pad_right", pad_right)
    with pytest.raises(SystemExit) as stopped:
        sft.train(settings)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not (tmp_path / "run" / "final").exists()
    (saved,) = (tmp_path / "run").glob("checkpoint-*")
    assert int(saved.name.rpartition("-")[2]) < 4


def test_a_loss_that_is_not_finite_stops_before_its_step(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = config(model_folder("qwen2_vl"), run, learning_rate=1e30, save_steps=0, max_steps=4)
    with pytest.raises(UserError, match=r"^step [2-4]: the (loss|gradient's norm) is (nan|inf)"):
        sft.train(given)
    assert not (run / "final").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    sft.check_finite(0, "gradient's norm", 1.0)
    with pytest.raises(UserError, match="step 1: the gradient's norm is"):
        sft.check_finite(0, "gradient's norm", value)


def test_a_transformers_that_loads_checkpoints_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sft.check_resuming()  # the one that is installed does not
    monkeypatch.delattr("transformers.Trainer._load_from_checkpoint")
    with pytest.raises(UserError, match="this transformers loads checkpoints in a way of its own"):
        sft.check_resuming()


STATE = json.loads(
    """{
  "best_global_step": null, "best_metric": null, "best_model_checkpoint": null, "epoch": 0.5,
  "eval_steps": 500, "global_step": 2, "is_hyper_param_search": false,
  "is_local_process_zero": true, "is_world_process_zero": true, "log_history": [],
  "logging_steps": 1, "max_steps": 4, "num_input_tokens_seen": 0, "num_train_epochs": 2,
  "save_steps": 2, "stateful_callbacks": {}, "total_flos": 1e20, "train_batch_size": 4,
  "trial_name": null, "trial_params": null}"""
)
"""A state as transformers writes it."""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with a state, and without a model."""
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).touch()
    (folder / checkpoint.STATE).write_text(json.dumps(STATE))
    return folder


def test_the_state_that_transformers_writes_is_one_of_a_run(saved: Path) -> None:
    sft.check_state(saved)
    assert {field.name for field in dataclasses.fields(TrainerState)} == STATE.keys()


@pytest.mark.parametrize(
    "change",
    [
        # each number as a text, null, below zero, too large; counts with decimals
        *(
            {name: value}
            for name in ("global_step", "max_steps", "save_steps", "num_train_epochs")
            for value in ("2", None, -1, 8.5, 10**30, True)
        ),
        *({name: value} for name in ("epoch", "total_flos") for value in ("2", None, -0.5, [])),
        {"epoch": math.inf},
        {"epoch": math.nan},
        {"total_flos": 10**400},
        # another step than in the checkpoint's name
        {"global_step": 3},
        # no list, no mapping, no truth value, a field of nobody's
        {"log_history": "none"},
        {"stateful_callbacks": []},
        {"is_world_process_zero": 1},
        {"learning_rate": 1},
    ],
)
def test_a_state_of_no_run_is_refused_in_one_line(change: dict[str, Any], saved: Path) -> None:
    (saved / checkpoint.STATE).write_text(json.dumps(STATE | change))
    with pytest.raises(UserError, match="not the state of a run") as caught:
        sft.check_state(saved)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("lost", ["global_step", "log_history", "stateful_callbacks"])
def test_a_state_without_what_transformers_reads_is_refused(lost: str, saved: Path) -> None:
    state = {name: value for name, value in STATE.items() if name != lost}
    (saved / checkpoint.STATE).write_text(json.dumps(state))
    with pytest.raises(UserError, match="not the state of a run"):
        sft.check_state(saved)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt"])
def test_a_checkpoint_without_an_optimizer_is_refused(name: str, saved: Path) -> None:
    """transformers would go on with a fresh one."""
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}; delete this checkpoint"):
        sft.check_state(saved)


def test_a_run_reports_to_nobody(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """``train.report_to=none``, as TRL spells it."""
    settings = config(model_folder("qwen2_vl"), tmp_path / "run", max_steps=1, report_to=("none",))
    assert read_metrics(sft.train(settings) / "metrics.jsonl")


def test_a_model_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model there"):
        sft.train(config(tmp_path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_trains_nothing(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sft.train(config(model_folder("qwen2_vl"), tmp_path / "run"), dry_run=True)
    assert "12 samples" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
