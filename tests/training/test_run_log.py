"""The records of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from vrft.errors import UserError
from vrft.training import run_log


def test_metrics_are_one_json_object_a_line_and_there_at_once(tmp_path: Path) -> None:
    run = run_log.RunLog(tmp_path)
    run.metrics(1, {"loss": 0.5, "grad_norm": math.nan})
    # read while the log is still open: a killed run has all but the step it was in
    (row,) = run_log.read_metrics(tmp_path / "metrics.jsonl")
    run.close()
    assert (row["step"], row["loss"], row["grad_norm"]) == (1, 0.5, None)
    assert row["time"] > 0


def test_completions_are_one_file_a_step(tmp_path: Path) -> None:
    run = run_log.RunLog(tmp_path)
    run.completions(3, [{"text": "ä\n", "reward": 0.5}, {"text": "", "reward": 0.0}])
    run.close()
    lines = (tmp_path / "completions" / "000003.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["ä\n", ""]


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    run = run_log.RunLog(tmp_path)
    for step in (1, 2, 3):
        run.metrics(step, {"loss": float(step)})
        run.completions(step, [{"text": "first time"}])
    run.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # the kill came here

    run = run_log.RunLog(tmp_path, resume_step=2)
    kept = sorted(path.stem for path in (tmp_path / "completions").iterdir())
    run.metrics(3, {"loss": 30.0})
    run.close()
    rows = run_log.read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert kept == ["000001", "000002"]


def test_a_missing_tracker_says_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r'report_to=nowhere: .* run `pip install "vrft\[log\]"`'):
        run_log.optional("nowhere")


def test_tensorboard_gets_the_metrics_and_forgets_what_a_resumed_run_repeats(
    tmp_path: Path,
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for resume_step, steps in ((None, (1, 2, 3)), (1, (2,))):
        run = run_log.RunLog(tmp_path, ["tensorboard"], resume_step)
        for step in steps:
            run.metrics(step, {"loss": step / 2})
        run.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]


def test_weights_and_biases_gets_the_metrics_under_the_name_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((step, values))

        def finish(self) -> None:
            calls.append("finished")

    class Package:
        def init(self, **settings: object) -> Run:
            calls.append((settings["name"], settings["id"], settings["resume"]))
            return Run()

    monkeypatch.setattr(run_log, "optional", lambda _: Package())
    folder = tmp_path / "my_run"
    run = run_log.RunLog(folder, ["wandb"], resume_step=4)
    run.metrics(5, {"loss": 1.0})
    run.close()
    assert calls == [("my_run", "my_run", "allow"), (5, {"loss": 1.0}), "finished"]
