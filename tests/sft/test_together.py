"""Two processes over gloo fine-tune as one does, with the last step of an epoch and a resume.

There are nine lessons, of which one has pictures: the last step of an epoch has one of them left,
for the first process alone. All runs are made in one launch, one after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import outcomes
from fakes.folders import FAKES
from fakes.launching import Launch, launch
from fakes.outcomes import Record
from fakes.several_runs import LATER
from safetensors.torch import load_file

from vrft import config
from vrft.runs.run_log import read_metrics
from vrft.sft import fine_tune

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

COUNT = {"LETTERS": "9"}
ENGINE = "two processes, DDP by torchrun: sft"
Settings = Callable[..., list[str]]


@pytest.fixture(scope="module")
def settings(model_folder: Callable[[str], Path]) -> Settings:
    """Three steps of four lessons: two whole ones, and the one that is left."""

    def make(out: Path, *more: str) -> list[str]:
        return [
            "algorithm=sft",
            f"task={FAKES / 'mixed_task.py'}",
            f"model={model_folder('qwen2_vl')}",
            "train.per_device_train_batch_size=1",
            "train.gradient_accumulation_steps=2",
            "train.max_steps=3",
            "train.save_steps=2",
            "train.eval_steps=2",
            "eval.split=val",
            "eval.limit=2",
            "train.learning_rate=1e-3",
            "train.adam_epsilon=1e-3",  # without it Adam turns rounding into a full step
            f"train.output_dir={out}",
            *more,
        ]

    return make


@pytest.fixture(scope="module")
def alone(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETTERS", COUNT["LETTERS"])
        out = tmp_path_factory.mktemp("alone") / "run"
        given = settings(out, "train.gradient_accumulation_steps=4")
        return fine_tune.train(config.load(None, given))


@pytest.fixture(scope="module")
def together(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """The runs of two processes."""
    folder = tmp_path_factory.mktemp("together")

    def fresh(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "arguments": settings(folder / name), "environment": COUNT, **more}

    copied = [str(folder / "sft"), str(folder / "again")]
    again = {"copy": copied, "arguments": ["--resume", copied[1]]}
    return launch(
        "torchrun",
        folder,
        [
            fresh("sft"),
            fresh("again", **again),
            fresh("ended", of={"1": {"second": "SIGTERM"}}),
            fresh("fewer", of={"1": {"environment": {"LETTERS": "8"}}}),
            fresh("mistaken", of={"1": {"second": "mistake"}}, last=True),
        ],
    )


def assert_same(one: Path, two: Path) -> None:
    """The same weights and metrics, but for rounding; epochs are counted in places."""
    first, second = (load_file(run / "final" / "model.safetensors") for run in (one, two))
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-6
    rows, others = (read_metrics(run / "metrics.jsonl") for run in (one, two))
    assert [row.keys() for row in rows] == [row.keys() for row in others]
    same = ("loss", "grad_norm", "learning_rate", "num_tokens", "eval_different")
    for row, other in zip(rows, others, strict=True):
        names = [name for name in same if name in row]
        assert [row[name] for name in names] == pytest.approx(
            [other[name] for name in names], rel=1e-5, abs=1e-6
        )


def test_two_processes_fine_tune_as_one_does(
    alone: Path, together: Launch, model_folder: Callable[[str], Path], record_property: Record
) -> None:
    two = together.run("sft")
    assert_same(alone, two)
    start = model_folder("qwen2_vl")
    assert outcomes.apart(start, two / "final") > 1e-4
    fault = "two processes in place of one"
    outcomes.compared(record_property, fault, ENGINE, alone, two, start)


def test_a_resumed_fine_tuning_of_two_processes_is_the_one_never_stopped(
    together: Launch, record_property: Record
) -> None:
    runs = together.run("sft"), together.run("again")
    assert outcomes.apart(*(run / "final" for run in runs)) == 0
    outcomes.compared(record_property, "resumed from its own checkpoint", ENGINE, *runs)


def test_one_process_goes_on_from_the_checkpoint_of_two(
    alone: Path,
    together: Launch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Record,
) -> None:
    monkeypatch.setenv("LETTERS", COUNT["LETTERS"])
    run = tmp_path / "run"
    shutil.copytree(together.run("sft"), run, ignore=shutil.ignore_patterns(*LATER))
    now = [f"train.output_dir={run}", "train.gradient_accumulation_steps=4"]
    fine_tune.train(config.load(str(run / "config.yaml"), now), resume=run)
    assert_same(alone, run)
    assert "processes: 2 -> 1" in capsys.readouterr().err
    fault = "one device resumes from the checkpoint of two processes"
    outcomes.compared(record_property, fault, ENGINE, alone, run)


def test_a_signal_to_one_process_makes_both_save_and_stop(
    together: Launch, record_property: Record
) -> None:
    rows = together.outcome("ended")
    assert [row["status"] for row in rows] == [128 + 15] * 2
    assert "go on with `vrft train --resume" in rows[0]["said"] and not rows[1]["said"]
    run = together.folder / "ended"
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (run / "final").exists()
    end = "all save after the same step and stop"
    outcomes.ended(record_property, "SIGTERM to one of two processes", ENGINE, end)


def test_processes_with_other_lessons_are_refused(together: Launch) -> None:
    rows = together.outcome("fewer")
    assert [row["status"] for row in rows] == [2, 2]
    assert "process 1 does not see what process 0 sees: 1 removed: 'train-8'" in rows[0]["said"]
    assert not (together.folder / "fewer").exists()


def test_a_process_that_fails_ends_the_other_with_its_error(
    together: Launch, record_property: Record
) -> None:
    cause = "vrft: error: a mistake of this process alone"
    assert cause in together.said
    assert "Traceback" not in together.said[: together.said.index(cause)]
    end = "all end, its own error first and short"
    outcomes.ended(record_property, "one process fails", ENGINE, end)
