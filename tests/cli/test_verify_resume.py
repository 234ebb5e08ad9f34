"""``vrft verify-resume`` kills a run after its checkpoint, resumes it, and names what differs.

A stand-in trains here, in milliseconds; tests/faults verifies real runs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from fakes.command_line import complaint
from fakes.folders import FAKES

from vrft import cli, config
from vrft.cli import verify_resume
from vrft.runs.run_comparison import Difference, RunDifference

Capture = pytest.CaptureFixture[str]
ARGV = ("verify-resume", "--config", "demo/lisa_grounding")


@pytest.fixture(autouse=True)
def _counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train by the stand-in, and make temporary folders where the test can see them."""
    script = str(FAKES / "counting_run.py")
    monkeypatch.setattr(verify_resume, "TRAIN", (script,))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_a_run_that_goes_on_as_it_was_is_identical_and_leaves_nothing(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HELD", "4")
    assert cli.main(ARGV) == 0
    out, err = capsys.readouterr()
    first, *table = out.splitlines()
    assert first == (
        "identical: 4 steps in one go, and 2 steps + SIGKILL in step 4 + --resume, bit for bit"
    )
    assert any(line.split()[:2] == ["metrics", "1"] and "4 rows" in line for line in table)
    assert "3 of 3: killed in step 4, and resumed" in err
    assert not list((tmp_path / "tmp").iterdir())


def test_a_spoiled_state_is_the_first_difference_and_both_runs_are_kept(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPOILED", "5")
    assert cli.main(ARGV) == 1
    first, last = capsys.readouterr().out.splitlines()
    # 1 + 2 + 3 in one go
    assert first == (
        "first difference: step 3, metrics.jsonl, sum: 6 in one go, 11 killed and resumed"
    )
    (kept,) = (tmp_path / "tmp").iterdir()
    assert last == f"runs: {kept}"
    assert (kept / "in-one-go").is_dir() and (kept / "killed-and-resumed").is_dir()


@pytest.mark.parametrize(
    ("steps", "at", "killed"),
    [
        (2, 1, 2),
        (3, 2, 3),
        (6, 3, 5),
        (5, 1, 2),
    ],
)
def test_the_kill_comes_after_the_checkpoint_and_before_the_next(
    steps: int,
    at: int,
    killed: int,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HELD", str(killed))
    out = tmp_path / "out"
    argv = (*ARGV, "--steps", str(steps), "--kill-at", str(at), "--output-dir", str(out))
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert f"and {at} steps + SIGKILL in step {killed} + --resume" in printed
    assert f"runs: {out}\n" in printed
    rows = (out / "killed-and-resumed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, steps + 1))


def test_both_runs_have_the_settings_of_the_command_line(capsys: Capture, tmp_path: Path) -> None:
    given = ["algorithm=grpo", "model.lora.r=8", "eval.split=val", "train.seed=7"]
    assert cli.main([*ARGV, "--output-dir", str(tmp_path / "out"), *given]) == 0
    made = config.load(str(tmp_path / "out" / "config.yaml"))
    assert (made.algorithm.name, made.model.lora.r, made.train.seed) == ("grpo", 8, 7)
    assert (made.train.max_steps, made.train.save_steps, made.eval.limit) == (4, 2, 4)
    assert made.train.save_total_limit is None and made.train.report_to == ()


def test_a_run_that_fails_is_one_line_with_its_reason_and_log(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STOPPED", "1")
    assert cli.main([*ARGV, "--output-dir", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    log = tmp_path / "out" / "in-one-go.log"
    assert line == f"vrft: error: the run ended with status 2: out of memory (see {log})"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        # nothing would be left after the kill
        (["--kill-at", "4"], "--kill-at 4: a run of 4 steps has ended by then"),
        (["--steps", "2"], "--kill-at 2: a run of 2 steps has ended by then"),
        # settings of the check's own
        (["train.max_steps=9"], "verify-resume sets train.max_steps by itself; give --steps"),
        (["train.save_steps=9"], "sets train.save_steps by itself; give --kill-at"),
        (["train.output_dir=x"], "sets train.output_dir by itself; give --output-dir"),
        # what training refuses
        (["train.learning_rat=1"], "unknown setting train.learning_rat"),
    ],
)
def test_what_cannot_be_verified_is_refused_by_name(
    given: list[str], message: str, capsys: Capture, tmp_path: Path
) -> None:
    assert message in complaint(capsys, *ARGV, *given)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_that_holds_something_is_refused(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, *ARGV, "--output-dir", str(tmp_path))
    assert message.endswith(f"--output-dir {tmp_path}: not empty; give a new folder")


def test_a_launch_of_several_processes_is_refused(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = complaint(capsys, *ARGV)
    assert message.endswith("leave the launcher out, and give --num-processes 2")


def test_a_configuration_of_accelerate_must_be_there(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, *ARGV, "--accelerate-config", str(tmp_path / "zero4.yaml"))
    assert f"--accelerate-config {tmp_path / 'zero4.yaml'}: no such file" in message


def test_a_difference_beside_a_server_may_be_the_servers() -> None:
    found = RunDifference(Difference(3, "metrics.jsonl, loss", "0.5", "0.25"))
    line = "first difference: step 3, metrics.jsonl, loss: 0.5 in one go, 0.25 killed and resumed"
    assert verify_resume.verdict(found, 4, 2, 4) == line
    served = verify_resume.verdict(found, 4, 2, 4, served=True)
    assert served.startswith(f"{line}; the server's answers are compared too")
    assert served.endswith("see whether they do with rollout.engine=vrft")
