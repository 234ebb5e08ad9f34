"""Results of training and evaluation: what is read from their folders, what Jupyter shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import vrft
from vrft import viz
from vrft.api.results import CheckResult, Plan, TrainResult
from vrft.checks.findings import Finding, Findings, SplitCheck
from vrft.errors import UserError

LINES = """{"step": 1, "reward": 0.25, "loss": null}
{"step": 2, "reward": 0.75, "loss": 0.125}
{"step": 3, "reward": null, "loss": 0.5}
{"step": 4, "rew"""


def test_a_run_tells_its_metrics_and_its_curve_of_rewards(tmp_path: Path) -> None:
    folder = tmp_path / "run<b>"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(LINES, encoding="utf-8")
    run = TrainResult(folder)
    assert [row["step"] for row in run.metrics] == [1, 2, 3]  # the last line was cut off
    assert run.rewards == {1: 0.25, 2: 0.75}
    assert run.model == folder / "final"
    shown = run._repr_html_()
    assert "run&lt;b&gt;: step 3" in shown and "<td>loss</td><td>0.5</td>" in shown
    assert shown.count("<polyline") == 1 and ">step 3</text>" in shown


def test_the_rows_of_a_step_are_one(tmp_path: Path) -> None:
    rows = ['{"step": 1, "loss": 2.0}', '{"step": 2, "eval_accuracy": 0.5}']
    rows += ['{"step": 2, "loss": 1.0}', '{"step": 2, "train_loss": 1.5}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*rows, ""]), encoding="utf-8")
    run = TrainResult(tmp_path)
    last = {"step": 2, "eval_accuracy": 0.5, "loss": 1.0, "train_loss": 1.5}
    assert run.metrics == [{"step": 1, "loss": 2.0}, last]
    shown = run._repr_html_()
    assert "<td>eval_accuracy</td><td>0.5</td>" in shown and "<td>loss</td><td>1</td>" in shown


def test_the_model_of_a_run_that_was_stopped_is_its_last_checkpoint(tmp_path: Path) -> None:
    for name in ("checkpoint-8", "checkpoint-16"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "trainer_state.json").write_text("{}")
    assert TrainResult(tmp_path).model == tmp_path / "checkpoint-16"
    (tmp_path / "final").mkdir()
    assert TrainResult(tmp_path).model == tmp_path / "checkpoint-16"  # it holds no model
    (tmp_path / "final" / "config.json").write_text("{}")
    assert TrainResult(tmp_path).model == tmp_path / "final"


def test_a_run_is_named_by_a_text_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/metrics.jsonl").write_text(LINES, encoding="utf-8")
    run = TrainResult("run")  # type: ignore[arg-type]
    assert run == TrainResult(Path("run")) and run.model == Path("run/final")
    assert "run: step 3" in run._repr_html_() and "<polyline" in viz.curves(run)._repr_html_()
    with pytest.raises(UserError, match="the run names no best checkpoint"):
        _ = run.best
    with pytest.raises(UserError, match="no evaluation"):
        vrft.compare(run, run)


def test_a_run_before_its_first_step_has_no_metrics(tmp_path: Path) -> None:
    run = TrainResult(tmp_path)
    for look in (lambda: run.metrics, run._repr_html_, lambda: viz.curves(run)):
        with pytest.raises(UserError, match=r"no run there, config\.yaml is missing"):
            look()
    (tmp_path / "config.yaml").touch()
    assert run.metrics == [] and run.rewards == {} and "step 0" in run._repr_html_()
    with pytest.raises(UserError, match="no step is logged yet"):
        viz.curves(run)


def test_an_evaluation_shows_its_table_and_its_worst_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    picture = Image.new("RGB", (56, 56), "red")
    rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    result = vrft.evaluate("demo", rows, sampling={"max_completion_length": 8})
    page = result._repr_html_()
    assert "<td>accuracy</td><td>0.0</td>" in page and "data:image/jpeg;base64," in page
    # The table is shown without the data, too.
    for file in (tmp_path / "cache" / "rows").iterdir():
        file.unlink()
    page = result._repr_html_()
    assert "<td>accuracy</td><td>0.0</td>" in page and "<img" not in page


def test_a_run_names_its_best_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the run names no best checkpoint"):
        _ = TrainResult(tmp_path).best
    (tmp_path / "best.json").write_text('{"step": 3, "metric": "eval_iou", "value": 0.5}')
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "config.json").write_text("{}")
    assert TrainResult(tmp_path).best == tmp_path / "checkpoint-3"


def test_a_plan_and_a_check_are_shown_with_their_texts_escaped() -> None:
    plan = Plan("task       <b>: 2 samples\nsteps      3 at 1e-06")
    assert plan.facts == {"task": "<b>: 2 samples", "steps": "3 at 1e-06"}
    assert "&lt;b&gt;" in plan._repr_html_() and "<b>" not in plan._repr_html_()
    problem = Findings((Finding("1 have no <i>: a", ("a",)),))
    result = CheckResult((SplitCheck("train", 2, findings=problem),))
    assert not result.ok and "<i>" not in result._repr_html_()
    assert "<td>problem</td><td>train</td><td>1 have no &lt;i&gt;: a</td>" in result._repr_html_()
