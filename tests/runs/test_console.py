"""A run goes on when nobody reads its console any more."""

from __future__ import annotations

import errno
import logging
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from fakes import loud_library

from vrft.runs import console

SPEAKER = """
import os, sys
from pathlib import Path
from vrft.runs.console import steady
print("before", flush=True)
with steady(Path(sys.argv[1])):
    sys.stdin.readline()
    for stream in (sys.stdout, sys.stderr):
        for line in range(1000):
            print(f"line {line}", file=stream)
        stream.flush()
    os.write(2, b"past Python")
Path(sys.argv[1], "final").touch()
print("after")
"""


@pytest.mark.parametrize("there", [True, False], ids=["a folder", "no folder"])
def test_a_closed_pipe_lets_a_process_go_on_in_its_log(there: bool, tmp_path: Path) -> None:
    folder = tmp_path if there else tmp_path / "none"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKER, str(folder)], stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.stdout.readline() == b"before\n"
        process.stdout.close()
        process.stderr.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        status = process.wait()
    if not there:  # devnull takes it; the last line of the script fails for want of the folder
        assert status == 1
        return
    assert status == 0 and (folder / "final").exists()
    written = (folder / console.NAME).read_text()
    assert all(written.count(f"line {line}\n") == 2 for line in range(1000))
    assert "past Python" in written and written.endswith("after\n")


def test_other_errors_are_raised(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        stream = console.SteadyStream(full, tmp_path / console.NAME)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            stream.write("a line")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert not list(tmp_path.iterdir())


def test_the_streams_are_put_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with console.steady(tmp_path):
        assert sys.stderr.isatty() == before[1].isatty()
        assert (sys.stdout, sys.stderr) != before
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    ("metrics", "evaluated", "texts"),
    [
        # one reward is the reward
        ({"loss": 0.1, "reward": 0.5, "rewards/iou/mean": 0.5}, {}, ["reward 0.500"]),
        # several; one that applied to no completion is left out, as are deviations
        (
            {
                "reward": 1.5,
                "frac_reward_zero_std": 0.25,
                "rewards/iou/mean": 0.5,
                "rewards/iou/std": 0.1,
                "rewards/format/mean": 1.0,
                "rewards/none/mean": math.nan,
            },
            {"eval_iou": 0.25, "eval_giou": 0.1},
            ["reward 1.500", "signal 75%", "eval_iou 0.250", "iou 0.500", "format 1.000"],
        ),
        # groups that are compared with others teach by equal rewards too
        (
            {"reward": 1.0, "frac_reward_zero_std": 1.0, "frac_without_signal": 0.0},
            {},
            ["reward 1.000", "signal 100%"],
        ),
        # supervised fine-tuning has a loss alone
        ({"loss": 0.25}, {"eval_iou": 0.5}, ["loss 0.250", "eval_iou 0.500"]),
        ({}, {}, []),
    ],
)
def test_a_step_is_told_by_its_reward_its_signal_and_the_last_evaluation(
    metrics: dict[str, float], evaluated: dict[str, float], texts: list[str]
) -> None:
    assert console.step_texts(metrics, evaluated) == texts


def test_a_warning_is_one_line_in_words_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    former = warnings.showwarning
    with warnings.catch_warnings(), console.warnings_in_words():
        warnings.simplefilter("always")
        for text in ("first", "second\n  goes on", "first"):
            warnings.warn(text, stacklevel=1)
        warnings.warn(f"{console.AMONG_LIBRARIES[0]} and will be removed", stacklevel=1)
    assert capsys.readouterr().err == "warning: first\nwarning: second goes on\n"
    assert warnings.showwarning is former


def test_what_a_library_logs_to_standard_output_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    former = logging.getLoggerClass()
    with console.logs_on_error():
        made = loud_library.import_it("a library imported within")
        streams = {name: logging.StreamHandler(getattr(sys, name)) for name in ("stdout", "stderr")}
        logging.getLogger("another").addHandler(streams["stderr"])
        logging.getLogger("another").addHandler(logging.NullHandler())  # which has no stream
        monkeypatch.setattr(logging.root, "handlers", [])
        logging.root.addHandler(streams["stdout"])
    assert capsys.readouterr() == ("", "[WARNING] no accelerator was detected\n")
    assert streams["stdout"].stream is sys.stdout  # the user's own
    assert streams["stderr"].stream is sys.stderr
    made.warning("later")
    assert capsys.readouterr() == ("", "[WARNING] later\n")
    assert logging.getLoggerClass() is former
    loud_library.import_it("a library imported afterwards")
    assert capsys.readouterr() == ("[WARNING] no accelerator was detected\n", "")
