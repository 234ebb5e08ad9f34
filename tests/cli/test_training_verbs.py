"""The options of the commands before, of and about a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.cli import arguments
from vrft.errors import UserError


def test_train_takes_rewards_a_run_and_settings_anywhere() -> None:
    args = arguments.parse(["train", "a=1", "--reward", "a.py:f", "--reward", "b.py:g=2", "b=2"])
    assert args.reward == ["a.py:f", "b.py:g=2"] and args.settings == ["a=1", "b=2"]
    assert arguments.parse(["train", "--resume", "my run"]).resume == Path("my run")


def test_splits_may_be_written_with_spaces_between_them() -> None:
    assert arguments.parse(["check", "--splits", "train, test"]).splits == ["train", "test"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["check", "--limit", "0"], "argument --limit: expected a whole number above zero"),
        (["check", "--splits", ""], "argument --splits: expected names of splits A,B, got ''"),
        (["check", "--splits", "train,"], "argument --splits: expected names of splits"),
        (["plan", "--zero", "1"], "argument --zero: invalid choice"),
        (["verify-resume", "--kill-at", "-1"], "--kill-at: expected"),
    ],
)
def test_a_value_out_of_range_is_named(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        arguments.parse(argv)


def test_what_is_not_given_has_the_value_that_the_help_names() -> None:
    check, plan = arguments.parse(["check"]), arguments.parse(["plan"])
    assert (check.splits, check.limit, check.json) == (None, None, False)
    assert (plan.gpu, plan.devices, plan.zero) == (None, 1, 0)
    assert arguments.parse(["demo"]).seed == [42]
