"""``vrft plan`` from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vrft import cli, config
from vrft.cli import arguments, plan


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = cli.main(["plan", *argv])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_tiny_model_fits_and_its_parts_sum_up_to_the_peak(
    capsys: pytest.CaptureFixture[str], model_folder: Callable[[str], Path]
) -> None:
    argv = (f"model={model_folder('qwen3_vl')}", "--picture", "128x128", "--gpu", "A10")
    status, out, _ = run(capsys, *argv, "sampling.max_completion_length=8")
    assert status == 0
    assert "image tokens 16 in the median, 16 at most" in out
    assert re.search(r"^A10 +fits: .* GiB \(A10: rollout [\d.]+ s, update [\d.]+ s\)$", out, re.M)


def test_a_plan_is_printed_as_json(
    capsys: pytest.CaptureFixture[str], model_folder: Callable[[str], Path]
) -> None:
    argv = (f"model={model_folder('qwen3_vl')}", "--picture", "128x128", "--gpu", "A10", "--json")
    status, out, _ = run(capsys, *argv, "sampling.max_completion_length=8")
    planned = json.loads(out)
    (card,) = planned["cards"]
    assert status == 0 and (card["name"], card["settings"]) == ("A10", [])
    assert 0 < card["peak"] < card["room"] and planned["facts"][0].startswith("model ")


def test_a_described_prompt_is_planned_by_the_configuration_of_the_task_and_the_model_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "config.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("{}")
    words = ["plan", "--picture", "1008x756", "--task", "lisa_grounding", f"model={tmp_path}"]
    got = plan.configuration(arguments.parse(words))
    assert got == config.load("lisa_grounding", [f"model={tmp_path / 'final'}"])
    assert got.model.max_pixels == 401408  # not that of the schema, which is None
    assert capsys.readouterr().err == f"model: {tmp_path / 'final'}\n"


@pytest.mark.large
def test_data_are_measured_by_the_headers_of_their_pictures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ("--config", "demo/lisa_grounding", "--gpu", "33GB", "--limit", "5")
    status, out, _ = run(capsys, *argv, "sampling.max_completion_length=8")
    assert status == 0
    assert "data       5 prompt(s): image tokens" in out


@pytest.mark.large
def test_a_model_that_is_too_large_fits_by_the_first_setting_that_is_enough(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ("model=Qwen/Qwen2-VL-2B-Instruct", "--picture", "112x112", "--gpu", "24GB")
    status, out, _ = run(capsys, *argv, "sampling.max_completion_length=8")
    assert status == 0
    assert "by the shapes that vrft ships: 2,208,985,600 parameters" in out
    assert re.search(r"24GB +does not fit: .*; model\.lora\.r=64 .*: [\d.]+ GiB", out)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--gpu", "H1000"), "--gpu H1000: no such card"),
        (("--picture", "12by12"), "--picture 12by12: expected WIDTHxHEIGHT"),
        (("--zero", "3", "--words", "9"), "give --devices too"),
        (("--words", "9", "model=nobody/none"), "not on this machine"),
        (("--words", "9", "--data", "rows.jsonl"), "--data: --picture and --words plan without"),
        (("--words", "9", "task.data_dir=rows.jsonl"), "--data: --picture and --words plan"),
        (("--picture", "12x12", "--limit", "3"), "--limit: --picture and --words plan without"),
        (("--words", "9", "--reward", "a.py:f"), "--reward: --picture and --words plan without"),
        (("--picture", "12x12", "--task", "nonsense", "model=demo"), "unknown task 'nonsense'"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str
) -> None:
    status, out, err = run(capsys, *argv)
    assert (status, out) == (2, "")
    assert words in err and err.count("\n") == 1
