"""Names at trackers: taken by each, the same at every step, and no two made one."""

from __future__ import annotations

import posixpath
import re

import pytest

from vrft.runs.tracker_names import TrackerNames, acceptable


def mlflow_takes(name: str) -> bool:
    """Tell what MLflow's own validation of metrics and parameters does, the strictest of them."""
    path = posixpath.normpath(name)
    unique = path == name and path != "." and not path.startswith(("..", "/"))
    return unique and len(name) <= 250 and re.fullmatch(r"[A-Za-z0-9_./ -]+", name) is not None


@pytest.mark.parametrize(
    ("ours", "given"),
    [
        ("rewards/iou/mean", "rewards/iou/mean"),  # taken as it is
        ("eval_acc@0.5", "eval_acc_at_0.5"),  # of boxes
        ("eval_pass@4", "eval_pass_at_4"),  # of several answers
        ("eval_huber[delta=1.3]", "eval_huber_delta_1.3_"),
        ("task.weights.mine.py:near", "task.weights.mine.py_near"),  # no colon on Windows
        ("eval_\u7cbe\u5ea6", "eval___"),  # not for every server
        ("a//b/", "a/_/b/_"),  # no path of a file
        ("../a", "__/a"),
        ("..a", "_..a"),
        ("", "_"),
    ],
)
def test_mlflow_is_given_names_that_it_takes(ours: str, given: str) -> None:
    assert acceptable("mlflow", ours) == given
    assert mlflow_takes(given)
    assert acceptable("wandb", ours) == ours


def test_a_long_name_is_cut_and_told_from_others() -> None:
    long = "eval_" + "x" * 300
    names = TrackerNames("mlflow")
    first, second = names.name(f"{long}1"), names.name(f"{long}2")
    assert first != second and mlflow_takes(first) and mlflow_takes(second)


def test_no_two_names_become_one() -> None:
    names = TrackerNames("mlflow")
    values = {"acc@0.5": 1.0, "acc_at_0.5": 2.0, "\u7cbe": 3.0, "\u5ea6": 4.0, "x" * 248 + "@": 5.0,
              "x" * 248 + "_at_": 6.0}  # fmt: skip
    given = names.of(values)
    assert list(given.values()) == list(values.values())
    assert all(map(mlflow_takes, given))
    # at a later step they are the same, alone too
    assert names.of(values) == given
    assert names.of({"acc_at_0.5": 2.0}).keys() < given.keys()


def test_dvclive_writes_no_file_outside_its_folder() -> None:
    assert acceptable("dvclive", "/etc/acc@0.5") == "_/etc/acc@0.5"
    assert acceptable("dvclive", "../../a") == "__/__/a"
