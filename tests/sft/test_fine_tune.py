"""Supervised fine-tuning: a run learns, can be stopped, and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import short_runs
from fakes.folders import FAKES

from vrft import models, registry
from vrft.config.schema import Config, ModelConfig, TaskConfig, TrainConfig
from vrft.errors import UserError
from vrft.runs.run_comparison import TIMES
from vrft.runs.run_log import read_metrics
from vrft.sft import fine_tune, lessons
from vrft.sft.lessons import Lesson
from vrft.training.plan_text import plan_text
from vrft.types import Prompt

LETTERS = str(FAKES / "letters_task.py")


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
    folder = fine_tune.train(settings)
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
    whole = weights(fine_tune.train(settings) / "final")
    rows = without_times(tmp_path / "run")
    for name in ("final", "checkpoint-4"):
        shutil.rmtree(tmp_path / "run" / name)
    folder = fine_tune.train(settings, resume=tmp_path / "run")
    again = weights(folder / "final")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    # Counts and means too: TRL and transformers begin both anew.
    assert without_times(folder) == rows
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 4]
    assert rows[3]["num_tokens"] > rows[2]["num_tokens"] > 0 and rows[4]["train_loss"] > 0


def without_times(run: Path) -> list[dict[str, object]]:
    """The metrics of a run, less what a clock says."""
    rows = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not TIMES.search(k)} for row in rows]


def test_sigterm_saves_and_exits(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(model_folder("qwen2_vl"), tmp_path / "run", save_steps=100)
    make, made = lessons.pad_right, []

    def pad_right(*args: Any) -> dict[str, torch.Tensor]:
        made.append(args)
        if len(made) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(*args)

    monkeypatch.setattr(lessons, "pad_right", pad_right)
    with pytest.raises(SystemExit) as stopped:
        fine_tune.train(settings)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not (tmp_path / "run" / "final").exists()
    (saved,) = (tmp_path / "run").glob("checkpoint-*")
    assert int(saved.name.rpartition("-")[2]) < 4
    # Nor an account of the whole run, as it goes on.
    assert not any("train_loss" in row for row in read_metrics(tmp_path / "run" / "metrics.jsonl"))


def test_a_loss_that_is_not_finite_stops_before_its_step(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = config(model_folder("qwen2_vl"), run, learning_rate=1e30, save_steps=0, max_steps=4)
    with pytest.raises(UserError, match=r"^step [2-4]: the (loss|gradient's norm) is (nan|inf)"):
        fine_tune.train(given)
    assert not (run / "final").exists()


def test_a_run_reports_to_nobody(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """``train.report_to=none``, as TRL spells it."""
    settings = config(model_folder("qwen2_vl"), tmp_path / "run", max_steps=1, report_to=("none",))
    assert read_metrics(fine_tune.train(settings) / "metrics.jsonl")


def test_a_model_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model there"):
        fine_tune.train(config(tmp_path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_prompt_that_cannot_be_encoded_leaves_no_folder(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = config(model_folder("qwen2_vl"), tmp_path / "run")
    short = replace(settings.sampling, max_prompt_length=1)
    for start in (plan_text, fine_tune.train):
        with pytest.raises(UserError, match="max_prompt_length"):
            start(replace(settings, sampling=short))
        assert not (tmp_path / "run").exists()


def test_a_lesson_that_is_refused_in_the_first_step_leaves_no_folder(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    def refused(views: object) -> str:
        raise UserError("a picture of 250:1")

    prompt, given = Prompt("Say it."), config(model_folder("qwen2_vl"), tmp_path / "runs" / "a")
    refusing = [Lesson(prompt, lambda views: "abc"), *[Lesson(prompt, refused)] * 3]
    for _ in range(2):  # the second start meets the same refusal, and no folder
        with pytest.raises(UserError, match="250:1"):
            fine_tune.fit(given, refusing, registry.build(given.task))
        assert not list(tmp_path.iterdir())


def test_a_lesson_that_is_refused_after_a_step_leaves_what_was_learnt(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    asked: list[object] = []

    def refused_later(views: object) -> str:
        asked.append(views)
        if len(asked) > 9:  # one before the folder is made, and batches are read one ahead
            raise UserError("a picture of 250:1")
        return "abc"

    given = config(model_folder("qwen2_vl"), tmp_path / "run", save_steps=1)
    refusing = [Lesson(Prompt("Say it."), refused_later)] * 12
    with pytest.raises(UserError, match="250:1"):
        fine_tune.fit(given, refusing, registry.build(given.task))
    assert (tmp_path / "run" / "checkpoint-1").is_dir()


def test_a_dry_run_trains_nothing(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    assert "12 samples" in plan_text(config(model_folder("qwen2_vl"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_evaluation_computes_in_the_precision_of_the_lessons(
    dtype: Any,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    autocast = short_runs.autocast_of_evaluations(monkeypatch)
    name = str(model_folder("qwen2_vl"))
    settings = replace(
        config(Path(name), tmp_path / "run", max_steps=1),
        eval=replace(Config().eval, split="val", limit=2),
        model=ModelConfig(name, dtype=dtype),
    )
    fine_tune.train(settings)
    assert autocast == [dtype == "bfloat16"]
