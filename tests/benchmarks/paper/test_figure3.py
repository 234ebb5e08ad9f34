"""benchmarks/paper/figure3.py: the curves of finished runs are kept and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.paper import figure3
from vrft.errors import UserError


def write_run(folder: Path, reward: float) -> None:
    """Write the log of a run of three steps whose reward grows by ``reward``."""
    folder.mkdir(parents=True)
    lines = [
        {"loss": 0.1 * step, "reward": reward * step, "completions/mean_length": 9.0}
        for step in range(3)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_the_curves_of_finished_runs_are_kept_and_drawn(
    tmp_path: Path, results_folder: Path
) -> None:
    below = tmp_path / "runs" / "fewshot_classification"
    for arm, reward in (("gpg", 0.5), ("grpo", 0.25)):
        for seed in (1, 2):
            run = below / arm / f"seed-{seed}" / "run"
            write_run(run, reward)
            (run / "final").mkdir()
    write_run(below / "gpg" / "seed-3" / "run", 9.0)  # not finished
    figure3.keep_curves(tmp_path / "runs")
    kept = json.loads((results_folder / "figure3.json").read_text())
    assert kept["gpg"]["reward"] == [[0.0, 0.5, 1.0]] * 2
    assert figure3.read_curves() == kept
    png, svg = figure3.draw(kept, tmp_path)
    assert png.stat().st_size > 1000 and "<svg" in svg.read_text()


def test_without_runs_there_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run table3 first"):
        figure3.keep_curves(tmp_path)
    assert figure3.read_curves() is None


def test_curves_outlive_their_runs(tmp_path: Path, results_folder: Path) -> None:
    results_folder.mkdir()
    (results_folder / "figure3.json").write_text("{}\n")
    with pytest.raises(UserError):
        figure3.keep_curves(tmp_path)  # kept, but empty
    (results_folder / "figure3.json").write_text('{"gpg": {}}\n')
    figure3.keep_curves(tmp_path)
    assert figure3.read_curves() == {"gpg": {}}


def test_a_point_is_the_mean_of_the_steps_before_it() -> None:
    assert figure3.smooth([1, 2, 3, 4, 5, 6]) == [1, 1.5, 2, 2.5, 3, 4]
