"""Two run folders are the same bit for bit, or the first difference is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vrft.runs import run_comparison
from vrft.runs.run_comparison import Difference, compare


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of the same run of two steps, which differ in times and in their own names."""
    for name in ("first", "second"):
        run = tmp_path / name
        (run / "completions").mkdir(parents=True)
        for step in (1, 2):
            (run / "completions" / f"00000{step}.jsonl").write_text(f'{{"text": "a{step}"}}\n')
        checkpoint = run / "checkpoint-2"
        checkpoint.mkdir()
        save_file({"w": torch.arange(6.0).reshape(2, 3)}, checkpoint / "model.safetensors")
        state = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.5}]}
        torch.save(state, checkpoint / "optimizer.pt")
        random = {"numpy": ("MT19937", np.arange(4, dtype=np.uint32), 1), "cpu": torch.arange(4)}
        torch.save(random, checkpoint / "rng_state.pth")
        (checkpoint / "trainer_state.json").write_text(f'{{"step": 2, "best": "{run}/best"}}')
        (checkpoint / "manifest.json").write_text(name)
        (run / "config.yaml").write_text(name)
        (run / "rewards").mkdir()
        for log in ("vllm.log", "console.log", "rewards/mine.log"):
            (run / log).write_text(f"printed by the {name}")
        rows = [{"step": step, "time": len(name), "loss": 0.5 * step} for step in (1, 2)]
        write_rows(run, rows)
    return tmp_path / "first", tmp_path / "second"


def write_rows(run: Path, rows: list[dict[str, Any]]) -> None:
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_runs_that_differ_in_times_and_in_their_folder_are_the_same(
    runs: tuple[Path, Path],
) -> None:
    comparison = compare(*runs)
    assert comparison.difference is None
    counted = {kind: (c.files, c.items) for kind, c in comparison.counts.items()}
    assert counted == {
        "metrics": (1, 2), "completions": (2, 2), "weights": (1, 1), "optimizer": (1, 1),
        "random states": (1, 2), "progress": (1, 0),
    }  # fmt: skip
    assert comparison.counts["weights"].bytes > 24
    assert comparison.times == {"time"}
    assert counted.keys() <= set(run_comparison.ORDER)


def spoil_weight(run: Path) -> None:
    weights = torch.arange(6.0).reshape(2, 3)
    weights[1, 0] = torch.nextafter(torch.tensor(3.0), torch.tensor(4.0))
    save_file({"w": weights}, run / "checkpoint-2" / "model.safetensors")


def spoil_moment(run: Path) -> None:
    path = run / "checkpoint-2" / "optimizer.pt"
    state = torch.load(path, weights_only=True)
    state["state"][0]["exp_avg"][2] = -1
    torch.save(state, path)


def spoil_rate(run: Path) -> None:
    path = run / "checkpoint-2" / "optimizer.pt"
    state = torch.load(path, weights_only=True)
    state["param_groups"][0]["lr"] = 0.25
    torch.save(state, path)


def spoil_random(run: Path) -> None:
    random = {"numpy": ("MT19937", np.array([0, 1, 2, 4], np.uint32), 1), "cpu": torch.arange(4)}
    torch.save(random, run / "checkpoint-2" / "rng_state.pth")


def spoil_shape(run: Path) -> None:
    save_file({"w": torch.arange(6.0)}, run / "checkpoint-2" / "model.safetensors")


def spoil_progress(run: Path) -> None:
    (run / "checkpoint-2" / "trainer_state.json").write_text('{"step": 2, "best": "elsewhere"}')


def spoil_completion(run: Path) -> None:
    (run / "completions" / "000001.jsonl").write_text('{"text": "b"}\n')


def lose_checkpoint(run: Path) -> None:
    shutil.rmtree(run / "checkpoint-2")


def spoil_loss(run: Path) -> None:
    write_rows(run, [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}])


def leave_gap(run: Path) -> None:
    write_rows(run, [{"step": 2, "loss": 1.0}])


def repeat_row(run: Path) -> None:
    rows = [{"step": step, "loss": 0.5 * step} for step in (1, 2)]
    write_rows(run, [*rows, rows[1]])


def turn_rows(run: Path) -> None:
    write_rows(run, [{"step": step, "loss": 0.5 * step} for step in (2, 1)])


STATE = "checkpoint-2/trainer_state.json"


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        # the neighbour of 3.0 in float32 is 2**-22 larger
        (spoil_weight, (2, "checkpoint-2/model.safetensors, w[1, 0]", "3.0", "3.000000238418579")),
        (spoil_moment, (2, "checkpoint-2/optimizer.pt, state.0.exp_avg[2]", "1.0", "-1.0")),
        (spoil_rate, (2, "checkpoint-2/optimizer.pt, param_groups[0].lr", "0.5", "0.25")),
        (spoil_random, (2, "checkpoint-2/rng_state.pth, numpy[1][3]", "3", "4")),
        (
            spoil_shape,
            (2, "checkpoint-2/model.safetensors, w", "torch.float32 [2, 3]", "torch.float32 [6]"),
        ),
        (spoil_progress, (2, f"{STATE}, best", "'RUN/best'", "'elsewhere'")),
        (spoil_completion, (1, "completions/000001.jsonl, [0].text", "'a1'", "'b'")),
        (spoil_loss, (2, "metrics.jsonl, loss", "1.0", "None")),
        (leave_gap, (1, "metrics.jsonl", "1 row(s)", "0 row(s)")),
        (repeat_row, (2, "metrics.jsonl", "1 row(s)", "2 row(s)")),
        (turn_rows, (None, "metrics.jsonl, order of steps", "[1, 2]", "[2, 1]")),
        (lose_checkpoint, (2, "checkpoint-2/model.safetensors", "there", "missing")),
    ],
)
def test_the_first_difference_is_named_with_both_values(
    spoil: Callable[[Path], None], expected: tuple[Any, ...], runs: tuple[Path, Path]
) -> None:
    spoil(runs[1])
    assert compare(*runs).difference == Difference(*expected)


def test_what_was_made_first_is_reported_first(runs: tuple[Path, Path]) -> None:
    for spoil in (spoil_weight, spoil_loss, spoil_completion):
        spoil(runs[1])
        difference = compare(*runs).difference
        assert difference is not None
        place = difference.place
    assert place.startswith("completions/000001.jsonl")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # values whose == would say otherwise
        (float("nan"), float("nan"), True),
        (0.0, -0.0, False),
        (1, 1.0, False),
        (True, 1, False),
        # order of keys is none, order of a list is
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        # longer
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (torch.tensor([0.0]), torch.tensor([-0.0]), False),
        (torch.tensor(float("nan")), torch.tensor(float("nan")), True),
        (torch.tensor([True]), torch.tensor([False]), False),
    ],
)
def test_values_are_the_same_when_their_bits_are(first: Any, second: Any, same: bool) -> None:
    assert (run_comparison.tree_difference(first, second) is None) == same


@pytest.mark.parametrize(
    ("name", "is_time"),
    [
        ("time", True), ("step_time", True), ("rollout/sync_time", True), ("train_runtime", True),
        ("train_samples_per_second", True), ("times_rewarded", False), ("loss", False),
        ("num_tokens", False),
    ],
)  # fmt: skip
def test_metrics_of_a_clock_are_left_out(name: str, is_time: bool) -> None:
    assert bool(run_comparison.TIMES.search(name)) == is_time
