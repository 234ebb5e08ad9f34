"""The model and the evaluation that the folder of a run stands for."""

import json
import os
from pathlib import Path

import pytest

from vrft.errors import UserError
from vrft.evaluation import locate


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run with two checkpoints, and strangers that look like some."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/mine")
    names = ("checkpoint-20", "checkpoint-100", "checkpoint-best", "checkpoint-300.bak")
    for name in names:
        make_model(folder / name)
        (folder / name / "trainer_state.json").write_text("{}")
    make_model(folder / "checkpoint-400")  # emptied: without its state
    (folder / "config.yaml").write_text("{}")
    return folder


def make_model(folder: Path, config: str = "config.json") -> Path:
    folder.mkdir(parents=True)
    (folder / config).write_text("{}")
    return folder


def make_evaluation(folder: Path, age: int, model: Path | None = None) -> Path:
    """Make the folder of an evaluation whose answers were written ``age`` seconds ago."""
    folder.mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("")
    made = {} if model is None else {"model": {"name": str(model.resolve())}}
    (folder / "settings.json").write_text(json.dumps(made))
    os.utime(folder / "predictions.jsonl", (10**9 - age, 10**9 - age))
    return folder


def test_a_run_stands_for_its_final_or_else_its_last_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert locate.model(str(run)) == str(run / "checkpoint-100")  # not the last by name
    assert capsys.readouterr().err == "model: runs/mine/checkpoint-100\n"
    make_model(run / "final", "adapter_config.json")
    assert locate.model(str(run)) == str(run / "final")
    assert capsys.readouterr().err == "model: runs/mine/final\n"
    named = [path.name for path in locate.models_of(run)]
    assert named == ["checkpoint-20", "checkpoint-100", "final"]


@pytest.mark.parametrize(
    "name", ["demo", "Qwen/Qwen2-VL-2B-Instruct", "runs/mine/checkpoint-20", "elsewhere", "empty"]
)
def test_any_other_name_stays_as_it_is(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("demo", "final").mkdir(parents=True)  # `demo` is the embedded model all the same
    Path("empty").mkdir()
    assert locate.model(name) == name
    assert capsys.readouterr().err == ""


def test_a_model_lies_in_its_run_as_final_or_as_a_checkpoint_only(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("final", "fetched"):  # the second is somebody else's, copied into the run
        make_model(run / name)
    own = [run, run / "final", run / "checkpoint-20"]
    assert [locate.run_of(str(path)) for path in own] == [run] * 3
    assert locate.run_of(str(run / "fetched")) is None
    assert [locate.run_of(name) for name in ("", "demo", "elsewhere")] == [None] * 3
    (run / "fetched" / "config.yaml").write_text("loss: focal\n")  # another tool's
    assert locate.run_of(str(run / "fetched")) is None
    folder = run.resolve()
    monkeypatch.chdir(run / "final")
    assert locate.run_of(".") == folder


def test_a_run_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(UserError, match="the run has neither final nor a checkpoint; go on with"):
        locate.model(str(tmp_path))


def test_the_best_checkpoint_of_a_run_is_named_by_best(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "best.json").write_text('{"step": 20, "metric": "eval_iou", "value": 0.5}')
    make_model(run / "final")
    assert locate.model("runs/mine/best") == "runs/mine/checkpoint-20"
    assert capsys.readouterr().err == "model: runs/mine/checkpoint-20\n"
    make_model(Path("runs/best"))  # a model of that name stands for itself
    assert locate.model("runs/best") == "runs/best"
    assert locate.model("elsewhere/best") == "elsewhere/best"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "the run names no best checkpoint; train with eval.split and train.metric_for"),
        ("{", "the run names no best checkpoint"),
        ('{"step": "last"}', "the run names no best checkpoint"),
        ('{"step": 30}', "checkpoint-30 was the best, and has gone"),
    ],
)
def test_a_run_without_its_best_checkpoint_is_refused(
    text: str | None, said: str, run: Path
) -> None:
    if text is not None:
        (run / "best.json").write_text(text)
    with pytest.raises(UserError, match=said):
        locate.model(str(run / "best"))


def test_a_folder_or_file_of_an_evaluation_stands_for_itself(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_evaluation(run / "eval", 0)
    make_evaluation(folder / "part", 0)
    for path in (folder, folder / "predictions.jsonl", Path("none.jsonl")):
        assert locate.evaluation(path) == path
    assert capsys.readouterr().err == ""


def test_a_run_stands_for_its_newest_evaluation(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = make_evaluation(run / "eval", age=30)
    assert locate.evaluation(run) == inside
    assert capsys.readouterr().err == "evaluation: runs/mine/eval\n"
    part = make_evaluation(run / "eval2" / "held-out", age=20)
    assert locate.evaluation(run) == part
    outside = make_evaluation(Path("runs/eval/cvbench-mine"), 10, run / "checkpoint-20")
    make_evaluation(Path("runs/eval/cvbench-other"), 0, Path("runs/mine-too/final"))
    make_evaluation(Path("runs/eval/scored"), 0)  # saved answers, of no model of ours
    make_evaluation(Path("runs/eval/hub"), 0, Path("Qwen/Qwen2-VL-2B-Instruct"))
    broken = make_evaluation(Path("runs/eval/broken"), 0, run / "final")
    (broken / "settings.json").write_text("{")  # whose it is, nobody knows
    capsys.readouterr()
    assert locate.evaluation(run) == outside
    assert capsys.readouterr().err == "evaluation: runs/eval/cvbench-mine (the newest of 3)\n"
    assert locate.evaluation(run / "checkpoint-20") == outside  # the model by itself
    with pytest.raises(UserError, match="no evaluation in it or of it in runs/eval; make one"):
        locate.evaluation(run / "checkpoint-100")
