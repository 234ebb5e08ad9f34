"""Reward functions in memory: their columns, weights and names, also when a run is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.colour_rows import trained

import vrft
from vrft import cli
from vrft.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))


def shades(completions: list[Any], shade: list[int], **columns: Any) -> list[float]:
    """Return a column as the reward."""
    return [float(value) for value in shade]


def ones(completions: list[Any]) -> list[float]:
    return [1.0] * len(completions)


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
