"""``vrft eval --endpoint``: its options, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.chat_server import ChatServer, completion, serving
from fakes.command_line import complaint

from vrft import cli

Capture = pytest.CaptureFixture[str]
BENCHMARK = ("--benchmark", "demo_counting")


def to_endpoint(server: ChatServer, *words: str) -> tuple[str, ...]:
    return ("eval", "--endpoint", server.url, "--model", "org/m", *words)


def test_an_endpoint_is_evaluated_into_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(lambda asked: completion("<answer>3</answer>")) as server:
        words = (*BENCHMARK, "--limit", "3", "--concurrency", "2", "--processor", "demo")
        assert cli.main(to_endpoint(server, *words)) == 0
        assert len(server.asked) == 3
        assert cli.main(to_endpoint(server, *words)) == 0  # nothing is asked twice
        assert len(server.asked) == 3
    folder = tmp_path / "runs/eval/demo_counting-org-m-at-127.0.0.1-first3"
    assert (folder / "predictions.jsonl").is_file()
    assert str(folder.relative_to(tmp_path)) in capsys.readouterr().out


def test_rows_are_asked_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"id": "a", "question": "1 + 1?", "answer": "2"}, {"id": "b", "question": "2 + 2?",
            "answer": "5"}]  # fmt: skip
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(lambda asked: completion("<answer>2</answer>")) as server:
        out = ("--data", str(data), "--out", str(tmp_path / "out"))
        assert cli.main(to_endpoint(server, *out)) == 0
    assert "50.0" in capsys.readouterr().out
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--endpoint", "http://host/v1"), "--endpoint: give --model NAME"),
        (("--endpoint", "host", "--model", "m"), "give the address of a server up to /v1"),
        (("--endpoint", "http://host/v1", "--model", "m", "--batch-size", "4"), "--concurrency N"),
        (("--endpoint", "http://host/v1", "--model", "m", "model.dtype=float32"), "model.* is for"),
        (("--model", "demo", "--concurrency", "4"), "--concurrency is for --endpoint"),
        (("--model", "demo", "endpoint.family=qwen2_vl"), "endpoint.* are for --endpoint URL"),
        (("--model", "demo", "--processor", "demo"), "endpoint.* are for --endpoint URL"),
        (("--predictions", "a", "--boxes", "pixels", "--processor", "demo"), "give one of them"),
        (("--endpoint", "http://host/v1", "--model", "m", "endpoint.famly=x"), "did you mean"),
        (("--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "endpoint.resize=server"),
         "is the server up?"),
    ],
)  # fmt: skip
def test_options_that_say_nothing_together_are_one_clear_line(
    words: tuple[str, ...], reason: str, capsys: Capture, tmp_path: Path
) -> None:
    line = complaint(
        capsys, "eval", *BENCHMARK, "--limit", "1", "--out", str(tmp_path / "o"), *words
    )
    assert reason in line
