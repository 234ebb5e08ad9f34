"""The commands from Python: rewards in memory, data in memory, results, resume, scripts."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

import vrft
from vrft import cli
from vrft.cli import python
from vrft.errors import UserError

FAST: dict[str, Any] = {
    "sampling": {"max_completion_length": 8},
    "algorithm": {"num_generations": 2},
}
ROWS = [
    {
        "id": colour,
        "images": [Image.new("RGB", (56, 56), colour)],
        "question": "Which colour?",
        "answer": colour,
        "shade": number,
    }
    for number, colour in enumerate(["red", "blue"])
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def shades(completions: list[Any], shade: list[int], **columns: Any) -> list[float]:
    """Return a column as the reward."""
    return [float(value) for value in shade]


def ones(completions: list[Any]) -> list[float]:
    return [1.0] * len(completions)


def trained(folder: str, **settings: Any) -> vrft.TrainResult:
    """Train the embedded model for a step."""
    train = {"max_steps": 1, "output_dir": folder, **settings.pop("train", {})}
    return vrft.train(ROWS, model="demo", train=train, **FAST, **settings)


def test_the_examples_of_the_docstrings_are_true() -> None:
    result = doctest.testmod(python)
    assert result.attempted > 15 and result.failed == 0


def test_rewards_in_memory_read_columns_and_have_weights() -> None:
    run = trained("run", reward={shades: 1, ones: 0.25}, train={"per_device_train_batch_size": 2})
    # Of accuracy and format the untrained model has none; shades are 0 and 1, 0.5 in the mean.
    assert run.rewards == {1: 0.75}
    row = run.metrics[0]
    assert (row["rewards/shades/mean"], row["rewards/ones/mean"]) == (0.5, 1.0)
    assert "python:ones=0.25" in (run.folder / "config.yaml").read_text()


def test_a_run_is_resumed_with_its_functions_and_without_them_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = trained("run", reward=[ones])
    longer = vrft.train(resume=run, reward=ones, train={"max_steps": 2})
    assert longer.folder == run.folder and list(longer.rewards) == [1, 2]
    with pytest.raises(UserError, match="'ones' was a function in memory of Python; go on from"):
        vrft.train(resume="run", train={"max_steps": 3})
    with pytest.raises(UserError, match="the run's rewards are python:ones, and python:shades is"):
        vrft.train(resume=run, reward=shades)
    capsys.readouterr()
    assert cli.main(["train", "--resume", "run", "train.max_steps=3"]) == 2
    assert "vrft.train(resume=RUN, reward=FUNCTION)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        # without a name; not callable; two of one name; takes no completions
        (lambda completions: [], "reward <lambda>: expected a function with a name"),
        ([3], "reward int: expected a function"),
        ([ones, type("Other", (), {"__name__": "ones", "__call__": ones})()], "two functions of"),
        (len, "'len' takes 'obj' by position only"),
        # no function at all; weights that are no numbers; no such file
        (3, "reward: expected a function or a list of them, got 3 of type int"),
        ({ones: float("nan")}, "reward ones: the weight nan is no finite number"),
        ({ones: "much"}, "reward ones: the weight 'much' is no finite number"),
        ("absent.py:ones", "no reward file .*absent.py"),
        # a file without a function
        ({"absent.py": 1}, "expected file.py:function"),
    ],
)
def test_what_is_no_reward_is_refused_by_name(reward: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        trained("run", reward=reward)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"trian": {"max_steps": 1}}, "unknown setting trian; did you mean train"),
        ({"eval": {"limit": object()}}, "eval.limit: .* is no value of a setting"),
        ({"task": "countig"}, "did you mean 'counting'"),
        ({"model": 3}, "model"),
    ],
)
def test_settings_that_are_wrong_are_refused_as_on_the_command_line(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        vrft.train(ROWS, **settings)


def test_a_model_is_evaluated_by_name_by_run_and_in_memory_alike() -> None:
    run, file = trained("run"), str(RECORDS / "formats" / "canonical_vqa.jsonl")
    short = FAST["sampling"]
    by_run = vrft.evaluate(run, file, out="a", sampling=short)
    by_path = vrft.evaluate("run", file, out="b", sampling=short)
    in_memory = vrft.evaluate(vrft.load(run), file, out="c", sampling=short)
    texts = [[p.text for p in result.predictions] for result in (by_run, by_path, in_memory)]
    assert texts[0] == texts[1] == texts[2]
    assert by_run.metrics == {"accuracy": 0.0} and by_run.report.n == 2
    # The same settings are recorded, so that one goes on where the other stopped.
    records = [json.loads((Path(out) / "settings.json").read_text()) for out in "abc"]
    assert records[0]["model"] == records[1]["model"] == records[2]["model"]
    assert "accuracy" in str(by_run)


def test_a_benchmark_is_evaluated_by_its_name() -> None:
    result = vrft.evaluate(
        "demo", benchmark="demo_grounding", limit=1, sampling=FAST["sampling"], blank_images=True
    )
    assert result.report.n == 1 and result.folder.name == "demo_grounding-demo-blank-first1"


def test_a_training_without_data_or_task_is_refused() -> None:
    with pytest.raises(UserError, match="give data, task=NAME or config=NAME"):
        vrft.train(model="demo")


def test_an_evaluation_without_data_is_refused() -> None:
    with pytest.raises(UserError, match="give data or benchmark=NAME"):
        vrft.evaluate("demo")
    with pytest.raises(UserError, match="model: expected a folder, a hub id or a run, not int"):
        vrft.evaluate(3, ROWS)  # type: ignore[arg-type]


def test_a_policy_answers_with_places_system_and_turns() -> None:
    model = vrft.load("demo")
    picture = ROWS[0]["images"][0]  # type: ignore[index]
    options: dict[str, Any] = {"max_completion_length": 8}
    turns = [vrft.Turn("user", "Look."), vrft.Turn("assistant", "Yes.")]
    first = model.answer("Here <image> or here <image>?", picture, picture, **options)
    again = model.answer("Here <image> or here <image>?", picture, picture, **options)
    assert first == again
    assert len(model.generate("Who?", n=2, system="Be brief.", turns=turns, **options)) == 2
    with pytest.raises(UserError, match=r"did you mean sampling\.temperature"):
        model.generate("Who?", temprature=1)


def test_other_rows_in_memory_are_another_evaluation() -> None:
    for rows in (ROWS, ROWS[:1], ROWS):
        result = vrft.evaluate("demo", rows, sampling=FAST["sampling"])
        assert result.report.n == len(rows)


SCRIPT = """
import sys
import vrft
from PIL import Image

assert "torch" not in sys.modules
print("started")
rows = [{"images": [Image.new("RGB", (56, 56), "red")], "question": "Colour?", "answer": "red"}]

def brief(completions, **columns):
    return [1.0 for completion in completions]

run = vrft.train(
    rows, reward=brief, model="demo", train={"max_steps": 1},
    sampling={"max_completion_length": 8}, algorithm={"num_generations": 2},
)
math = [{"question": "What is 1 + 1?", "answer": "2"}]
vrft.train(
    math, task="math", model="demo", train={"max_steps": 1, "output_dir": "runs/math"},
    sampling={"max_completion_length": 8}, algorithm={"num_generations": 2},
)
print(run.rewards)
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # math-verify's own process must not run the script a second time.
    assert done.stdout.splitlines() == ["started", "{1: 1.0}"]


def test_the_package_offers_the_commands_and_no_other_names() -> None:
    assert {"train", "evaluate", "load", "TrainResult", "Sample"} <= set(dir(vrft))
    assert all(getattr(vrft, name) is not None for name in vrft.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = vrft.trian  # type: ignore[attr-defined]
