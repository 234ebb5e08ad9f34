"""The records of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import utils as hub
from transformers.utils import logging as transformers_logging

from vrft.runs import run_log
from vrft.runs.run_log import RunLog


def test_metrics_are_one_json_object_a_line_and_there_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics(1, {"loss": 0.5, "grad_norm": math.nan})
    # read while the log is still open: a killed run has all but the step it was in
    (row,) = run_log.read_metrics(tmp_path / "metrics.jsonl")
    log.close()
    assert (row["step"], row["loss"], row["grad_norm"]) == (1, 0.5, None)
    assert row["time"] > 0


def test_completions_are_one_file_a_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.completions(3, [{"text": "ä\n", "reward": 0.5}, {"text": "", "reward": 0.0}])
    log.close()
    lines = (tmp_path / "completions" / "000003.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["ä\n", ""]


def test_half_a_surrogate_pair_is_kept_in_every_file(tmp_path: Path) -> None:
    """UTF-8 cannot hold it, and JSON may name it: an id "a\\ud83d" of the user's rows."""
    half = "a\ud83d"
    log = RunLog(tmp_path)
    log.metrics(1, {f"rewards/{half}": 0.5})
    log.completions(1, [{"sample_id": half, "text": "no"}])
    log.close()
    RunLog(tmp_path, resume_step=1).close()  # which writes the metrics anew
    assert run_log.read_metrics(tmp_path / "metrics.jsonl")[0][f"rewards/{half}"] == 0.5
    (line,) = (tmp_path / "completions" / "000001.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"sample_id": half, "text": "no"}


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.metrics(step, {"loss": float(step)})
        log.completions(step, [{"text": "first time"}])
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # the kill came here

    log = RunLog(tmp_path, resume_step=2)
    kept = sorted(path.stem for path in (tmp_path / "completions").iterdir())
    log.metrics(3, {"loss": 30.0})
    log.close()
    rows = run_log.read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert kept == ["000001", "000002"]


Bars = tuple[bool, bool, bool]


def bars_shown() -> Bars:
    """Whether transformers, the hub and datasets show their progress bars."""
    return (
        transformers_logging.is_progress_bar_enabled(),
        not hub.are_progress_bars_disabled(),
        not datasets.are_progress_bars_disabled(),
    )


def show_bars(bars: Bars) -> None:
    """Turn the bars of transformers, the hub and datasets on or off, in this order."""
    for shown, library, plural in zip(bars, (transformers_logging, hub, datasets), ("", "s", "s"),
                                      strict=True):  # fmt: skip
        getattr(library, f"{'enable' if shown else 'disable'}_progress_bar{plural}")()


@pytest.mark.parametrize(
    "before",
    [
        (True, True, True),
        (False, False, False),
        # transformers' switch turns the hub's along: each must be put back by itself
        (True, False, True),
        (False, True, False),
    ],
)
def test_other_libraries_bars_are_hidden_while_the_log_is_open(
    before: Bars, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(show_bars, bars_shown()))
    show_bars(before)
    log = RunLog(tmp_path)
    assert bars_shown() == (False, False, False)
    log.close()
    assert bars_shown() == before


def test_a_checkpoint_draws_no_bar_into_the_runs_own(
    load_tiny: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    request.addfinalizer(partial(show_bars, bars_shown()))
    model = load_tiny("qwen2").model
    show_bars((True, True, True))
    model.save_pretrained(tmp_path / "before")
    assert "Writing model shards" in capsys.readouterr().err
    with closing(RunLog(tmp_path)):
        model.save_pretrained(tmp_path / "meanwhile")
    assert capsys.readouterr().err == ""


def test_a_line_that_was_cut_within_a_letter_is_no_row(tmp_path: Path) -> None:
    whole = '{"step": 1, "rewards/длина": 1.0}\n'
    for end in range(1, len(whole.encode())):
        (tmp_path / "metrics.jsonl").write_bytes(
            (whole + whole).encode()[: len(whole.encode()) + end]
        )
        assert [row["step"] for row in run_log.read_metrics(tmp_path / "metrics.jsonl")] == [1]
