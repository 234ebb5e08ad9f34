"""A disk that takes no more of what a command writes: one line, and nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import viewed
from fakes.disk import limit_of_files

from vrft import cli

SIZE = 300
"""Bytes that a file may have."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def rows() -> str:
    """Write rows, and answers to them, that take more than a file may have."""
    asked = [{"id": f"{n:03}", "question": f"What is {n}?", "answer": f"{n}"} for n in range(40)]
    said = [{"id": row["id"], "text": f"<answer>{row['answer']}</answer>"} for row in asked]
    for name, lines in (("test.jsonl", asked), ("answers.jsonl", said)):
        Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "test.jsonl"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of a command whose files have no room."""
    capsys.readouterr()
    with limit_of_files(SIZE):
        assert cli.main(words) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("vrft: error: ") and "cannot be written (File too large" in line
    return line


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["eval", "--predictions", "answers.jsonl", "--out", "out"], set()),
        (["prompts", "--out", "out/requests.jsonl"], {"out"}),
    ],
)
def test_answers_and_requests(
    words: list[str], left: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", rows()]
    before = {path.name for path in Path().iterdir()} | {"cache"}
    assert "raise the limit" in refused(capsys, *words, *data)
    assert {path.name for path in Path().iterdir()} - before == left
    assert not any(Path("out").glob("*"))
    assert cli.main([*words, *data]) == 0


@pytest.mark.parametrize("words", [["view"], ["compare"]])
def test_a_page(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = list(map(str, viewed.evaluations(tmp_path)))
    page = [*words, *both, "--export", "page"]
    assert "page: cannot be written" in refused(capsys, *page)
    assert cli.main(page) == 0 and Path("page/index.html").is_file()
    # One that was there is not lost with the one that has no room.
    refused(capsys, *page)
    assert Path("page/index.html").is_file()


@pytest.mark.parametrize(
    ("to", "out"), [("trl", "out.jsonl"), ("trl", "new/out.jsonl"), ("verl", "out.parquet")]
)
def test_a_conversion(to: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["data", "convert", "--from", rows(), "--to", to, "--out", out]
    refused(capsys, *data)
    assert not any(Path(out).parent.glob("*out.*"))
    assert cli.main(data) == 0 and Path(out).stat().st_size > SIZE


def test_a_conversion_to_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    viewed.second_picture(tmp_path)
    data = ["data", "convert", "--from", "test.jsonl", "--to", "labelme", "--out", "labels"]
    data += ["--split", "test"]
    Path("test.jsonl").write_text(Path("test.jsonl").read_text().replace(', "b.png"', ""))
    refused(capsys, *data)
    assert not any(Path().glob("*labels*"))
    assert cli.main(data) == 0 and len([*Path("labels").iterdir()]) == 2


def test_a_copied_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "config", "copy", "lisa_grounding", "mine.yaml")
    assert not any(Path().glob("*mine*"))


def test_the_printed_output() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "vrft", "tasks"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "vrft: error: the output: cannot be written (No space left on device); make room on the "
        "disk\n",
    )
