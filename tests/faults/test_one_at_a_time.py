"""Two processes never write into one folder: the second is refused by name, the first goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.chat_server import Asked, Reply, completion, serving
from fakes.command_line import complaint
from fakes.folders import FAKES
from fakes.nursery import Nursery
from fakes.scripted import benchmark, write_reasonseg

from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.errors import UserError
from vrft.evaluation import endpoint
from vrft.runs import run_comparison
from vrft.system import folder_lock

Settings = Callable[..., list[str]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A benchmark of the letters task."""
    path = tmp_path / "letters.yaml"
    path.write_text(f"title: Letters\ntask: {FAKES / 'letters_task.py'}\nsplit: test\n"
                    "sampling: {max_completion_length: 4}\n")  # fmt: skip
    return path


def test_nobody_writes_into_the_folder_of_a_run_that_trains(
    nursery: Nursery,
    settings: Settings,
    letters: Path,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert nursery.run(*settings(whole, 3))[0] == 0
    child = nursery.start(*settings(run, 1000))  # far more than it can take meanwhile
    child.until(lambda: (run / "checkpoint-1").is_dir())
    model = str(model_folder("qwen2_vl"))
    evaluate = ("eval", "--benchmark", str(letters), "--model", model, "--out", str(run))
    for argv in (settings(run, 3), ["train", "--resume", str(run)], evaluate):
        message = complaint(capsys, *argv)
        assert "a training writes there at this moment (process" in message, message
    child.send(15)
    assert child.wait() == 143, child.said()
    assert not (run / "predictions.jsonl").exists() and not (run / "settings.json").exists()
    first = run_comparison.rows_by_step(run / "metrics.jsonl", run_comparison.RunDifference())
    assert len(first) == max(first) and all(len(rows) == 1 for rows in first.values())


def test_nobody_writes_into_the_folder_of_an_evaluation(
    nursery: Nursery,
    settings: Settings,
    letters: Path,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """By a model and by saved answers, in other processes; then the folder is free."""
    out, model = tmp_path / "out", str(model_folder("qwen2_vl"))
    evaluate = ["eval", "--benchmark", str(letters), "--model", model, "--out", str(out)]
    assert nursery.run(*evaluate)[0] == 0
    scores = (out / "scores.json").read_bytes()
    saved = [*evaluate[:3], "--predictions", str(out / "predictions.jsonl"), "--out", str(out)]
    with folder_lock.held(out, "an evaluation"):
        for argv in (evaluate, [*evaluate, "--fresh"], saved, settings(out, 1)):
            status, said = nursery.run(*argv)
            last = said.strip().splitlines()[-1]
            assert status == 2 and "an evaluation writes there at this moment (process" in last
    assert (out / "scores.json").read_bytes() == scores
    assert nursery.run(*evaluate)[0] == 0


def test_an_endpoint_is_not_asked_for_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        return completion("<answer>(0,0),(1,1)</answer>")

    four, out = benchmark(write_reasonseg(tmp_path / "data")), tmp_path / "out"
    with serving(reply) as server:
        asked = EndpointConfig(url=server.url, model="m", family="qwen2_vl", pause=0.01)
        with (
            folder_lock.held(out, "an evaluation"),
            pytest.raises(UserError, match="an evaluation writes there at this moment"),
        ):
            endpoint.run(four, asked, out)
        assert not (out / "predictions.jsonl").exists()
        assert endpoint.run(four, asked, out).metrics
