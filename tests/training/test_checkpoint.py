"""A run that is resumed ends as one that was left alone; tests/faults kills and stops runs."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import resource
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes.bigram import CONFIG, run, with_train
from fakes.disk import DiskCalls
from fakes.folders import FAKES
from safetensors.torch import load_file, save_file
from transformers import get_scheduler

from vrft import config
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models import manifest
from vrft.runs import run_comparison, run_folder
from vrft.runs.run_log import RunLog, read_metrics
from vrft.runs.stop_signal import StopSignal
from vrft.training import checkpoint, loop, train, trainer_state
from vrft.training.trainer_state import Progress

LETTERS = FAKES / "letters_task.py"


@pytest.fixture
def settings(tmp_path: Path, model_folder: Callable[[str], Path]) -> Callable[[str], list[str]]:
    """The settings of a run of ten steps."""

    def make(name: str) -> list[str]:
        return [
            f"task={LETTERS}",
            f"model={model_folder('qwen2_vl')}",
            "algorithm.num_generations=4",
            "sampling.max_completion_length=6",
            "train.per_device_train_batch_size=2",
            "train.max_steps=10",
            "train.learning_rate=1e-3",
            "train.warmup_ratio=0.3",
            "train.save_steps=5",
            f"train.output_dir={tmp_path / name}",
        ]

    return make


def weights(run: Path) -> Mapping[str, torch.Tensor]:
    return load_file(run / "final" / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def without_time(run: Path) -> list[dict[str, object]]:
    """The metrics of a run, less the clock."""
    rows = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not run_comparison.TIMES.search(k)} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_method_with_more_models_than_one_goes_on_as_if_nothing_had_been(
    name: str, settings: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """The reference stays the model of the beginning; the critic is saved beside the policy."""
    few = ["train.max_steps=2", "train.save_steps=1", "train.warmup_ratio=0", f"algorithm={name}"]
    whole = train.train(config.load(None, [*settings("whole"), *few]))
    shutil.copytree(whole, tmp_path / "half")
    for later in ("checkpoint-2", "final"):
        shutil.rmtree(tmp_path / "half" / later)
    again = config.load(str(whole / "config.yaml"), [f"train.output_dir={tmp_path / 'half'}"])
    half = train.train(again, resume=tmp_path / "half")
    assert same(whole, half)
    assert without_time(whole) == without_time(half)
    assert any(row["kl"] != 0 for row in without_time(half))


@pytest.mark.slow
def test_a_resumed_run_drops_the_same_activations(
    settings: Callable[[str], list[str]], tmp_path: Path
) -> None:
    few = ["train.max_steps=2", "train.save_steps=1", "train.warmup_ratio=0"]
    dropout = ["model.lora.r=2", "model.lora.lora_dropout=0.5"]
    whole = train.train(config.load(None, [*settings("whole"), *few, *dropout]))
    shutil.copytree(whole, tmp_path / "half")
    for later in ("checkpoint-2", "final"):
        shutil.rmtree(tmp_path / "half" / later)
    torch.manual_seed(7)  # whatever has been drawn since
    again = config.load(str(whole / "config.yaml"), [f"train.output_dir={tmp_path / 'half'}"])
    half = train.train(again, resume=tmp_path / "half")
    first, second = (load_file(run / "final/adapter_model.safetensors") for run in (whole, half))
    assert all(first[name].equal(second[name]) for name in first)
    assert any(value.any() for name, value in first.items() if "lora_B" in name)


def test_a_checkpoint_in_the_making_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), checkpoint.written_whole(tmp_path / "checkpoint-3") as folder:
        (folder / trainer_state.STATE).write_text("{}")
        raise RuntimeError("killed here")
    assert checkpoint.latest(tmp_path) is None


def saved(run: Path, step: int) -> Path:
    """Write a checkpoint of a step that holds its state alone."""
    folder = checkpoint.path_of(run, step)
    with checkpoint.written_whole(folder) as temporary:
        (temporary / trainer_state.STATE).write_text("{}")
    return folder


def test_old_checkpoints_are_deleted_but_for_the_newest(tmp_path: Path) -> None:
    for step in (3, 20, 100):
        saved(tmp_path, step)
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-100"  # not the last by name
    checkpoint.prune(tmp_path, 100, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-20"]
    for keep in (None, 2, 3, 4):  # fewer are there than may be kept: none is deleted
        checkpoint.prune(tmp_path, 100, keep)
        assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_of_others_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    """Those without a manifest are another trainer's, later steps those of another run."""
    for step in (1, 500):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / trainer_state.STATE).write_text("{}")
    for step in (2, 3, 4, 1000):
        saved(tmp_path, step)
    checkpoint.prune(tmp_path, 4, 1)
    steps = [checkpoint.step_of(path) for path in checkpoint.complete(tmp_path)]
    assert steps == [1, 4, 500, 1000]


def test_a_run_goes_on_beside_a_checkpoint_that_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that is open elsewhere on a disk of a network, or that was protected."""

    def busy(path: Path) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))

    for step in (1, 2, 3):
        saved(tmp_path, step)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", busy)
        checkpoint.prune(tmp_path, 3, 1)
        with run_folder.held(tmp_path):
            pass
    said = capsys.readouterr().err.splitlines()
    name = tmp_path / "checkpoint-1"
    assert said[0] == f"note: {name}: cannot be deleted (Directory not empty)" and len(said) == 4
    assert checkpoint.complete(tmp_path) == [tmp_path / "checkpoint-3"]
    with run_folder.held(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_a_kill_while_pruning_leaves_no_half_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_steps(tmp_path, 2)

    def killed(path: Path) -> None:
        next(path.iterdir()).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        checkpoint.prune(tmp_path, 2, 1)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    run_folder.sweep(tmp_path)
    assert [path.name for path in tmp_path.glob("*checkpoint-*")] == ["checkpoint-2"]


def test_a_folder_that_was_emptied_is_no_checkpoint(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-1" / trainer_state.STATE).write_text("{}")
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-1"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "final"
    for name in ("old", "new"):
        with checkpoint.written_whole(folder) as temporary:
            assert not (folder / name).exists()  # not before all is written
            (temporary / name).touch()
        assert [path.name for path in tmp_path.iterdir()] == ["final"]
        assert {path.name for path in folder.iterdir()} == {name, manifest.NAME}


def test_nothing_takes_its_name_before_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run of checkpoints, records and their replacement by a resumed start."""
    calls = DiskCalls(monkeypatch)
    take_steps(tmp_path, 3)
    with checkpoint.written_whole(tmp_path / "checkpoint-3") as temporary:  # once more
        (temporary / "inner").mkdir()
        (temporary / "inner" / "weights").write_bytes(b"1234")
    RunLog(tmp_path, resume_step=2).close()
    assert calls.unsynced == []
    renamed = [(old.name, new.name) for kind, old, new in calls.calls if kind == "rename"]
    for step in (1, 2, 3):
        assert (f".checkpoint-{step}", f"checkpoint-{step}") in renamed
    # Each new name is on the disk before anything else happens.
    for (kind, old, new), after in itertools.pairwise(calls.calls):
        if kind == "rename" and not new.name.endswith(".former"):
            assert after[:2] == ("sync", old.parent), old
    # Records are on the disk before the checkpoint from which a run goes on after them.
    first = next(i for i, (kind, _, new) in enumerate(calls.calls) if new.name == "checkpoint-1")
    assert ("sync", tmp_path / "metrics.jsonl") in [call[:2] for call in calls.calls[:first]]


def take_steps(folder: Path, steps: int, **settings: object) -> None:
    """Take steps of the bigram policy, each followed by a checkpoint."""
    made = run(with_train(CONFIG, save_steps=1, max_steps=steps, **settings))
    log = RunLog(folder)
    with contextlib.closing(log), StopSignal() as stop:
        loop.loop(made, folder, log, stop)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


FAULTS = [flip, halve, empty, Path.unlink]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["table.pt", "optimizer.pt", trainer_state.STATE, manifest.NAME])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    fault: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    take_steps(tmp_path, 2)
    (tmp_path / "checkpoint-2" / "notes of mine").touch()
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-2"
    fault(tmp_path / "checkpoint-2" / name)
    if (fault, name) == (Path.unlink, manifest.NAME):  # as one that an earlier version has saved
        assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-2"
        (line,) = checkpoint.set_aside(tmp_path)
        assert line.startswith(f"note: {tmp_path / 'checkpoint-2'} has no manifest.json")
        return
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-1"
    if (fault, name) == (Path.unlink, trainer_state.STATE):  # emptied to make room: no checkpoint
        assert checkpoint.set_aside(tmp_path) == []
        return
    (line,) = checkpoint.set_aside(tmp_path)
    # A bit of the manifest itself may lie in the hash of a file, which is named then.
    named = "" if (fault, name) == (flip, manifest.NAME) else f"{name} "
    assert line.startswith(f"{tmp_path / 'checkpoint-2'}: {named}")
    assert line.endswith("passed over, and set aside as checkpoint-2.damaged")
    assert (tmp_path / "checkpoint-2.damaged" / "notes of mine").exists()
    assert checkpoint.complete(tmp_path) == [tmp_path / "checkpoint-1"]


def test_a_run_without_an_undamaged_checkpoint_is_refused_and_not_begun_anew(
    tmp_path: Path,
) -> None:
    take_steps(tmp_path, 2)
    for step in (1, 2):
        halve(tmp_path / f"checkpoint-{step}" / "table.pt")
    with pytest.raises(UserError, match="no checkpoint is undamaged") as caught:
        checkpoint.latest(tmp_path)
    assert "checkpoint-1: table.pt has" in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_checkpoints_do_not_count_to_those_that_are_kept(tmp_path: Path) -> None:
    take_steps(tmp_path, 3)
    halve(tmp_path / "checkpoint-3" / "table.pt")
    checkpoint.prune(tmp_path, 3, 1)
    assert [path.name for path in checkpoint.complete(tmp_path)] == ["checkpoint-2", "checkpoint-3"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nothing_is_pruned_for_weights_that_cannot_be_saved(value: float, tmp_path: Path) -> None:
    """With room for one checkpoint, the good one stays where a weight is not finite."""
    made = run(with_train(CONFIG, save_total_limit=1))
    made.progress.step = 1
    loop.save(made, tmp_path)
    made.progress.step = 2
    with torch.no_grad():
        next(made.policy.module.parameters())[0, 0, 0] = value
    with pytest.raises(UserError, match="not finite, and are not saved"):
        loop.save(made, tmp_path)
    assert [path.name for path in tmp_path.glob("*checkpoint*")] == ["checkpoint-1"]
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-1"


def test_strangers_beside_checkpoints_are_left_alone(tmp_path: Path) -> None:
    names = ("checkpoint-best", "checkpoint-8.bak", "checkpoint-08", "checkpoint--1", "checkpoint-")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / trainer_state.STATE).write_text("{}")
    (tmp_path / "completions").mkdir()
    for name in ("notes.jsonl", "²².jsonl", "000001.jsonl", "000003.jsonl"):
        (tmp_path / "completions" / name).touch()
    take_steps(tmp_path, 2, save_total_limit=1)
    RunLog(tmp_path, resume_step=2).close()
    assert checkpoint.complete(tmp_path) == [tmp_path / "checkpoint-2"]
    assert all((tmp_path / name / trainer_state.STATE).exists() for name in names)
    assert {path.name for path in (tmp_path / "completions").iterdir()} == {
        "notes.jsonl", "²².jsonl", "000001.jsonl", "000002.jsonl",
    }  # fmt: skip


@pytest.mark.parametrize("limit", [100, 1000, 2500])
def test_a_disk_that_takes_no_more_is_one_line_and_the_checkpoint_before_stays(
    limit: int, tmp_path: Path
) -> None:
    """A limit of a file's size: within the table, the optimizer's state, or the rest."""
    take_steps(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with (
            pytest.raises(UserError) as caught,
            checkpoint.written_whole(tmp_path / "checkpoint-2", 5 * 10**9) as temporary,
        ):
            save_file({"w": torch.zeros(200)}, temporary / "model.safetensors")
            with (temporary / "optimizer.pt").open("wb") as file:
                torch.save({"w": torch.zeros(400)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'checkpoint-2'}: cannot be written (File too large; 5 GB")
    assert "ulimit -f" in said and "\n" not in said
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-1"
    assert not list(tmp_path.glob(".checkpoint-*"))


def test_a_step_must_be_the_one_in_the_checkpoints_name(tmp_path: Path) -> None:
    for name, step in (("checkpoint-3", 3), ("checkpoint-4", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / trainer_state.STATE).write_text(json.dumps(asdict(Progress(step))))
    assert checkpoint.read_progress(tmp_path / "checkpoint-3").step == 3
    with pytest.raises(UserError, match="its step is 3"):
        checkpoint.read_progress(tmp_path / "checkpoint-4")


@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_a_schedule_put_to_a_step_goes_on_as_one_that_has_taken_it(name: str, warmup: int) -> None:
    def begin() -> tuple[torch.optim.Optimizer, Any]:
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
        optimizer = torch.optim.AdamW(groups, lr=1e-3)
        schedule = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=10)
        return optimizer, schedule

    optimizer, schedule = begin()
    uninterrupted = []
    for _ in range(12):  # beyond the last step too
        uninterrupted.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    for done in range(10):
        optimizer, schedule = begin()
        checkpoint.set_schedule(schedule, done)
        for rates in uninterrupted[done:]:
            assert [g["lr"] for g in optimizer.param_groups] == rates == schedule.get_last_lr()
            optimizer.step()
            schedule.step()


def test_the_scale_of_float16_goes_on_where_it_was(tmp_path: Path) -> None:
    made, scaler = run(CONFIG), torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))  # makes its state
    scaler.update(1024.0)
    stand_in = SimpleNamespace(
        scaler=scaler, is_main_process=True, distributed_type="NO", state=made.accelerator.state
    )
    checkpoint.write_optimizer(tmp_path, made.optimizer, stand_in)
    fresh = torch.amp.GradScaler("cpu")
    stand_in.scaler = fresh
    checkpoint.restore_state(tmp_path, made.optimizer, made.scheduler, stand_in, 3)
    assert fresh.state_dict() == scaler.state_dict() and fresh.get_scale() == 1024.0
    (tmp_path / checkpoint.SCALER).unlink()  # of an earlier version
    checkpoint.restore_state(tmp_path, made.optimizer, made.scheduler, stand_in, 3)


def test_the_run_folder_holds_a_config_that_loads(
    settings: Callable[[str], list[str]], tmp_path: Path
) -> None:
    made: Config = config.load(None, [*settings("run"), "train.max_steps=1"])
    run = train.train(made)
    assert config.load(str(run / "config.yaml")) == made
    rows = (run / "completions" / "000001.jsonl").read_text().splitlines()
    assert len(rows) == 2 * 4


def test_a_run_evaluates_every_so_many_steps_and_at_the_end(
    settings: Callable[[str], list[str]],
) -> None:
    evaluation = ["eval.split=val", "eval.limit=3", "train.eval_steps=2", "train.max_steps=3"]
    run = train.train(config.load(None, [*settings("run"), *evaluation]))
    rows = read_metrics(run / "metrics.jsonl")
    assert ["eval_different" in row for row in rows] == [False, True, True]
    assert all(0 <= row["eval_different"] <= 1 for row in rows[1:])
