"""Progress lines and the records of a run."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest

from vrft.errors import UserError
from vrft.training import run_log


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_once_an_interval_and_once_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = run_log.Lines(10, "work", stream=stream, interval=5.0, clock=clock)
    for second in range(1, 8):
        clock.now = float(second)
        lines.advance()
    lines.note("reward 0.5")
    lines.finish()
    lines.finish()  # nothing new since: no third line
    assert stream.getvalue().splitlines() == [
        "work: 5/10  1.00/s  0:05 left",
        "work: 7/10  1.00/s  0:03 left  reward 0.5",
    ]


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = run_log.Lines(100, "work", done=90, stream=stream, clock=clock)
    clock.now = 2.0
    lines.advance(4)  # 4 in 2 s, 6 left: 3 s
    lines.finish()
    assert stream.getvalue() == "work: 94/100  2.00/s  0:03 left\n"


def test_progress_to_a_pipe_is_plain_lines() -> None:
    stream = io.StringIO()
    with run_log.progress(2, "work", stream=stream, interval=1e9) as shown:
        shown.advance()
        shown.note("almost")
        shown.advance()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("work: 2/2")
    assert line.endswith("almost")


def test_progress_to_a_pipe_says_how_far_it_came_when_it_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), run_log.progress(9, "work", stream=stream) as shown:
        shown.advance(3)
        raise RuntimeError
    assert stream.getvalue().startswith("work: 3/9")


def test_progress_on_a_terminal_is_a_bar_with_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with run_log.progress(2, "work", stream=stream) as shown:
        shown.advance()
        shown.note("[reward] 0.5")  # not markup
        shown.advance()
    assert "work" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "[reward] 0.5" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert run_log.duration(seconds) == text


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
