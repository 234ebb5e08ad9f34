"""The best checkpoint by a metric of the evaluations: written, kept and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.folders import FAKES

from vrft import config, policy, registry
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import evaluate, locate
from vrft.runs import run_log
from vrft.sft import fine_tune
from vrft.training import best, checkpoint, plan, train, trainer_state


def letters(*settings: str) -> Config:
    """Return the settings of short steps of the letters task, evaluated after each."""
    return config.load(
        None,
        [
            f"task={FAKES / 'letters_task.py'}",
            *("algorithm.num_generations=2", "sampling.max_completion_length=3"),
            *("eval.split=val", "eval.limit=2", "train.eval_steps=1"),
            "train.metric_for_best_model=different",
            *settings,
        ],
    )


def run_with(step: int, value: float, folder: Path, metric: str = "eval_different") -> Path:
    """Write a run's best.json and the folder of its checkpoint."""
    checkpoint.path_of(folder, step).mkdir()
    best.write(folder, best.Best(step, metric, value))
    return folder


@pytest.mark.parametrize(
    ("settings", "value", "improves"),
    [
        ((), 0.6, True),
        ((), 0.5, False),  # as good: the first stays
        ((), 0.4, False),
        (("train.greater_is_better=false",), 0.4, True),
        (("train.greater_is_better=false",), 0.6, False),
        (("train.metric_for_best_model=eval_different",), 0.6, True),  # the name in full
        (("train.metric_for_best_model=null",), 0.6, False),  # not asked for
        ((), float("nan"), False),  # never the best
        ((), float("inf"), False),
        (("train.metric_for_best_model=other",), 0.4, False),  # an evaluation without the metric
    ],
)
def test_an_evaluation_is_the_best_if_it_beats_all_before(
    settings: tuple[str, ...], value: float, improves: bool, tmp_path: Path
) -> None:
    run_with(1, 0.5, tmp_path)
    found = best.better(letters(*settings), tmp_path, 2, {"eval_different": value})
    assert found == (best.Best(2, "eval_different", value) if improves else None)


@pytest.mark.parametrize(("metric", "improves"), [("eval_loss", True), ("eval_iou", False)])
def test_less_is_better_for_a_loss(metric: str, improves: bool, tmp_path: Path) -> None:
    run_with(1, 0.5, tmp_path, metric)
    made = letters(f"train.metric_for_best_model={metric}")
    assert bool(best.better(made, tmp_path, 2, {metric: 0.4})) == improves


def test_a_best_checkpoint_that_has_gone_or_is_of_another_metric_is_forgotten(
    tmp_path: Path,
) -> None:
    run_with(1, 0.5, tmp_path)
    assert best.read(tmp_path, "different") == best.Best(1, "eval_different", 0.5)
    assert best.read(tmp_path, "iou") is best.read(tmp_path, None) is None
    (tmp_path / "checkpoint-1").rmdir()
    assert best.read(tmp_path, "different") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"step": 1}', '{"step": "x", "metric": "m", "value": 1}']
)
def test_a_damaged_file_names_no_best(text: str, tmp_path: Path) -> None:
    (tmp_path / best.FILE).write_text(text)
    assert best.read(tmp_path, "different") is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.metric_for_best_model=differnt",), "no evaluation has it; did you mean 'eval_dif"),
        (("eval.split=",), "needs evaluations: give eval.split"),
        (("algorithm=sft", "train.metric_for_best_model=iou"), "no evaluation has it"),
        (
            ("train.metric_for_best_model=null", "train.greater_is_better=true"),
            "greater_is_better says nothing without",
        ),
    ],
)
def test_a_metric_that_no_evaluation_has_is_refused_before_the_first_step(
    settings: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = letters(*settings)
    task = registry.build(made.task)
    with pytest.raises(UserError, match=message):
        best.check(made, task, task.samples("val")[:2] if made.eval.split else ())
    with pytest.raises(UserError, match=message):
        plan.check(made)


def test_pruning_spares_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        with checkpoint.written_whole(checkpoint.path_of(tmp_path, step)) as temporary:
            (temporary / trainer_state.STATE).write_text("{}")
    checkpoint.prune(tmp_path, 4, 1, checkpoint.path_of(tmp_path, 2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-4"]


def best_at(step: int, value: float | None, run: Path, metric: str = "eval_different") -> Path:
    """Write a checkpoint, which was the best by its value when it was written, if it has one."""
    folder = checkpoint.path_of(run, step)
    with checkpoint.written_whole(folder) as temporary:
        (temporary / trainer_state.STATE).write_text("{}")
        if value is not None:
            best.write(temporary, best.Best(step, metric, value))
    return folder


def test_a_run_whose_best_checkpoint_is_damaged_goes_on_with_the_best_before(
    tmp_path: Path,
) -> None:
    best_at(3, 0.5, tmp_path)
    best_at(4, 0.1, tmp_path, "eval_other")  # by a metric that was asked for meanwhile
    latest = best_at(5, None, tmp_path)
    later = best_at(8, 0.9, tmp_path)
    best.publish(tmp_path, later)
    (later / trainer_state.STATE).write_text("{}    ")
    assert checkpoint.latest(tmp_path) == latest
    checkpoint.set_aside(tmp_path)
    best.restore(tmp_path, latest, "different")
    assert best.read(tmp_path, "different") == best.Best(3, "eval_different", 0.5)
    best.restore(tmp_path, latest, "other")
    assert best.read(tmp_path, "other") == best.Best(4, "eval_other", 0.1)


def test_a_step_that_is_taken_anew_is_not_the_best_by_its_former_value(tmp_path: Path) -> None:
    shutil.rmtree(best_at(8, 0.9, run_with(7, 0.8, tmp_path)))
    (tmp_path / best.FILE).write_text('{"step": 8, "metric": "eval_different", "value": 0.9}')
    best.restore(tmp_path, best_at(5, None, tmp_path), "different")
    best_at(8, None, tmp_path)
    assert best.read(tmp_path, "different") is None


def test_a_best_checkpoint_of_an_earlier_version_which_the_run_alone_names_stays(
    tmp_path: Path,
) -> None:
    best_at(3, None, tmp_path)
    (tmp_path / best.FILE).write_text('{"step": 3, "metric": "eval_different", "value": 0.9}')
    best.restore(tmp_path, best_at(5, None, tmp_path), "different")
    assert best.read(tmp_path, "different") == best.Best(3, "eval_different", 0.9)


def beginning(
    method: str, scores: list[float], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return what begins a run of a method, whose evaluations have these scores in turn."""
    values = iter(scores)
    monkeypatch.setattr(evaluate, "while_training", lambda *_: {"eval_different": next(values)})
    return fine_tune.train if method == "sft" else train.train


@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_run_keeps_its_best_checkpoint_and_names_it_also_after_it_was_resumed(
    method: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = beginning(method, [0.2, 0.6, 0.6, 0.3, 0.5, 0.7], monkeypatch)
    few = (
        f"algorithm={method}",
        "train.save_steps=0",
        "train.save_total_limit=1",
        "train.lr_scheduler_type=constant",
    )
    where = (f"model={model_folder('qwen2_vl')}", f"train.output_dir={tmp_path / 'run'}")
    run = begin(letters(*few, *where, "train.max_steps=4"))
    # step 2 is the best, and 4 the last; the first best, of step 1, was replaced
    assert sorted(path.name for path in run.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    assert f"best: {run / 'checkpoint-2'} (eval_different 0.6000)" in capsys.readouterr().err
    begin(letters(*few, *where, "train.max_steps=5"), resume=run)
    assert sorted(path.name for path in run.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-5",
    ]
    begin(letters(*few, *where, "train.max_steps=6"), resume=run)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-6"]
    assert json.loads((run / best.FILE).read_text())["step"] == 6
    assert f"best: {run / 'checkpoint-6'} (eval_different 0.7000)" in capsys.readouterr().err
    assert locate.model(str(run / "best")) == str(run / "checkpoint-6")


@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_run_that_is_killed_before_it_names_its_best_does_so_when_it_goes_on(
    method: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = beginning(method, [0.9, 0.1], monkeypatch)
    given = letters(
        *(f"algorithm={method}", "train.save_steps=0", "train.save_total_limit=1"),
        *(f"model={model_folder('qwen2_vl')}", f"train.output_dir={tmp_path / 'run'}"),
        "train.max_steps=2",
    )

    def killed(run: Path, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(best, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(given)
    begin(given, resume=tmp_path / "run")
    assert best.read(tmp_path / "run", "different") == best.Best(1, "eval_different", 0.9)
    checkpoints = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-1", "checkpoint-2"]


def test_the_best_of_supervised_fine_tuning_is_the_model_of_its_evaluation(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Evaluations of the real model: the best checkpoint scores what best.json says it does."""
    given = letters(
        *("algorithm=sft", "train.max_steps=4", "train.save_total_limit=1"),
        *("train.learning_rate=3e-3", f"model={model_folder('qwen2_vl')}", "eval.limit=4"),
        *(f"train.output_dir={tmp_path / 'run'}", "sampling.max_completion_length=8"),
    )
    run = fine_tune.train(given)
    rows = run_log.read_metrics(run / "metrics.jsonl")
    scores = {row["step"]: row["eval_different"] for row in rows if "eval_different" in row}
    named = best.read(run, "different")
    assert named is not None and list(scores) == [1, 2, 3, 4]
    assert named == best.Best(max(scores, key=lambda s: scores[s]), "eval_different", named.value)
    state = json.loads((run / f"checkpoint-{named.step}" / trainer_state.STATE).read_text())
    assert (state["best_global_step"], state["best_metric"]) == (named.step, named.value)
    model = policy.load(replace(given.model, name=locate.model(str(run / "best"))))
    again = evaluate.while_training(given, registry.build(given.task), model)
    assert again["eval_different"] == named.value == scores[named.step]
