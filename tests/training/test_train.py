"""The run around the steps: what it builds, when it acts, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from fakes import short_runs
from fakes.folders import FAKES

from vrft import config, registry
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.policy.policy import AdapterOff
from vrft.runs.run_log import RunLog, read_metrics
from vrft.training import loop, train
from vrft.training.metrics import TOKEN_COLUMNS

UNSCORABLE = """
from dataclasses import dataclass

from letters_task import Letters

from vrft.errors import UserError


@dataclass(frozen=True)
class Unscorable(Letters):
    def score(self, sample, completion):
        raise UserError("scored for nobody")
"""


def letters(model: Path, folder: Path, *settings: str) -> Config:
    """Two short steps of the letters task."""
    small = ("algorithm.num_generations=2", "sampling.max_completion_length=3", "train.max_steps=2")
    where = (f"task={FAKES / 'letters_task.py'}", f"model={model}", f"train.output_dir={folder}")
    return config.load(None, [*where, *small, *settings])


def test_a_run_that_logs_no_completions_scores_none(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FAKES))
    (tmp_path / "unscorable.py").write_text(UNSCORABLE)
    own = f"task={tmp_path / 'unscorable.py'}"
    model = model_folder("qwen2_vl")
    quiet = letters(model, tmp_path / "quiet", own, "train.log_completions=false")
    folder = train.train(quiet)
    assert len(read_metrics(folder / "metrics.jsonl")) == 2
    assert not (folder / "completions").exists()
    seldom = letters(model, tmp_path / "seldom", own, "train.logging_steps=9")
    with pytest.raises(UserError, match="scored for nobody"):
        train.train(seldom)  # after the last step
    assert read_metrics(tmp_path / "seldom" / "metrics.jsonl")[0]["step"] == 2


@pytest.mark.parametrize(
    "settings", [("algorithm=grpo", "algorithm.entropy_coef=0.01"), ("algorithm=ppo",)]
)
def test_the_reference_below_a_new_adapter_is_the_policy_that_is_trained(
    settings: tuple[str, ...], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """An engine wraps the module of that policy alone, also where a critic or entropies come in."""
    lora = (*settings, "model.lora.r=4")
    made = letters(model_folder("qwen2"), tmp_path / "run", "task.name=math", *lora)
    run = train.prepare(made, registry.build(made.task), [], Accelerator(cpu=True))
    assert isinstance(run.reference, AdapterOff) and run.reference.trained is run.policy


@pytest.mark.parametrize("limit", [2, 200])
def test_a_run_of_which_no_answer_ends_is_warned_before_its_first_step(
    limit: int,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # at a temperature of 1 the tiny model ends some of its answers within 200 tokens, none in 2
    settings = [f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}",
                "train.max_steps=2", f"train.output_dir={tmp_path / 'run'}", "train.save_steps=0",
                f"sampling.max_completion_length={limit}"]  # fmt: skip
    train.train(config.load(None, settings))
    assert capsys.readouterr().err.count("warning: answers_endless: ") == (limit == 2)


def test_the_task_is_built_once(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    build = registry.build

    def watch(task: Any) -> Any:
        built.append(task)
        return build(task)

    monkeypatch.setattr(registry, "build", watch)
    train.train(letters(model_folder("qwen2_vl"), tmp_path / "run"))
    assert len(built) == 1


def test_a_run_without_a_folder_gets_one_named_after_its_task(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = train.train(letters(model_folder("qwen2_vl"), Path(), "train.output_dir=''"))
    assert folder.parent == Path("runs") and folder.name.startswith("letters_task-")
    assert config.load(str(folder / "config.yaml")).train.output_dir == str(folder)
    assert (folder / "final" / "model.safetensors").is_file()


def test_token_logprobs_are_logged_and_change_no_weight(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = model_folder("qwen2_vl")
    plain, full = (
        train.train(letters(model, tmp_path / name, f"train.log_token_logprobs={name}"))
        for name in ("false", "true")
    )
    weights = [(folder / "final" / "model.safetensors").read_bytes() for folder in (plain, full)]
    assert weights[0] == weights[1]
    before, now = (read_metrics(f / "completions" / "000001.jsonl") for f in (plain, full))
    assert [row["text"] for row in before] == [row["text"] for row in now]
    assert not any(name in row for row in before for name in TOKEN_COLUMNS)
    for row in now:
        assert len(row["token_logprobs"]) == len(row["token_chars"]) == row["tokens"]
        assert max(row["token_logprobs"]) <= 0 < row["token_entropy"]
        assert sum(row["token_chars"]) == len(row["text"])


def test_a_tracker_gets_completions_at_the_first_the_last_and_every_so_many_steps(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, bool]] = []
    monkeypatch.setattr(
        RunLog,
        "rollouts",
        lambda log, step, rows, shown, *, pictures: asked.append((step, len(shown), pictures)),
    )
    own = ["train.report_to=tensorboard", "train.max_steps=5", "train.log_completions_steps=3"]
    own += ["train.num_completions_to_print=3", "train.per_device_train_batch_size=2"]
    train.train(letters(model_folder("qwen2_vl"), tmp_path, *own, "train.log_multimodal=false"))
    # Three completions are two groups of two; all steps have histograms.
    assert asked == [(1, 2, False), (2, 0, False), (3, 2, False), (4, 0, False), (5, 2, False)]


def test_a_run_that_is_refused_in_its_first_step_leaves_no_folder(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(run: Any) -> None:
        raise UserError("a picture of 250:1")

    monkeypatch.setattr(loop, "step", refused)
    folder = tmp_path / "runs" / "a"
    given = letters(model_folder("qwen2_vl"), folder, "train.canaries=false")
    for _ in range(2):  # the second start meets the same refusal, and no folder
        with pytest.raises(UserError, match="250:1"):
            train.train(given)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_evaluation_computes_in_the_precision_of_the_rollouts(
    dtype: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights that are trained are float32: without autocast so would be all products."""
    autocast = short_runs.autocast_of_evaluations(monkeypatch)
    evaluated = ("train.max_steps=1", "eval.split=val", "eval.limit=2", f"model.dtype={dtype}")
    train.train(letters(model_folder("qwen2_vl"), tmp_path / "run", *evaluated))
    assert autocast == [dtype == "bfloat16"]
