"""``vrft prompts``: the requests of a benchmark, and their answers scored."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from fakes.chat_server import completion
from fakes.command_line import complaint
from fakes.scripted import ANSWERS, write_reasonseg

from vrft import cli
from vrft.cli import arguments

Capture = pytest.CaptureFixture[str]
BENCHMARK = ("--benchmark", "demo_counting")


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    """The file of a benchmark of four boxes."""
    data = write_reasonseg(tmp_path / "data")
    file = tmp_path / "four.yaml"
    file.write_text(
        f"task: {{name: lisa_grounding, settings: {{data_dir: {data}}}}}\nsplit: test\n"
    )
    return str(file)


def test_requests_are_written_and_their_answers_scored(
    benchmark: str, tmp_path: Path, capsys: Capture
) -> None:
    out, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    family = "endpoint.family=qwen2_vl"
    words = ("prompts", "--benchmark", benchmark, "--out", str(out))
    assert "give endpoint.family=qwen2_5_vl" in complaint(capsys, *words)
    assert cli.main((*words, "--model", "org/m", family)) == 0
    asked, heading, command = capsys.readouterr().out.splitlines()
    assert (asked, heading) == (f"requests: {out}", "next:")
    # The next command scores the answers, with the family that the requests were made for.
    assert arguments.parse(shlex.split(command)[1:]).settings == [family]
    with answers.open("w") as file:
        for line in out.read_text().splitlines():
            row = json.loads(line)
            assert row["body"]["model"] == "org/m"
            question = row["body"]["messages"][-1]["content"][-1]["text"]
            text = next(answer for name, answer in ANSWERS.items() if name in question)
            body = json.loads(completion(text).text)
            response = {"status_code": 200, "body": body}
            file.write(json.dumps({"custom_id": row["custom_id"], "response": response}) + "\n")
    scored = ("eval", "--benchmark", benchmark, "--predictions", str(answers))
    assert "does not say how its boxes are written" in complaint(capsys, *scored)
    assert cli.main((*scored, family)) == 0
    assert "37.5" in capsys.readouterr().out


def test_requests_without_a_model_or_in_several_files_say_so(
    tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "r.jsonl"
    words = ("prompts", *BENCHMARK, "--out", str(out), "endpoint.family=qwen3_vl", "--limit", "30")
    assert cli.main((*words, "--max-size", "1")) == 0
    told = capsys.readouterr().out.splitlines()
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    assert told[: len(files)] == [f"requests: {file}" for file in files]
    assert told[len(files) : -2] == [
        f"note: {len(files)} files, as one has at most 1 MB and 50,000 requests (--max-size)",
        "note: the requests name no model; --model NAME writes it into them",
    ]
    assert "give --benchmark NAME" in complaint(capsys, "prompts", "--out", str(out))
