"""The page docs/endpoints.md: its commands run as they are written, and it names every setting."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
from fakes.chat_server import completion, serving
from fakes.folders import ROOT

from vrft import cli
from vrft.endpoints.chat_client import BUSY
from vrft.endpoints.endpoint_settings import EndpointConfig

PAGE = (ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:8000/v1"


def commands() -> list[list[str]]:
    """Return the words of each command of the page, without `vrft`."""
    text = PAGE.replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(r"^    (vrft .*)$", text, re.MULTILINE)]


def test_the_commands_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asking, writing, scoring = commands()
    few = ["--limit", "3"]
    with serving(lambda asked: completion("<answer>3</answer>")) as server:
        words = [server.url if word == URL else word for word in asking]
        assert cli.main([*words, *few]) == 0
        assert len(server.asked) == 3
    assert cli.main([*writing, *few]) == 0
    body = json.loads(completion("<answer>3</answer>").text)
    with Path("answers.jsonl").open("w") as file:
        for line in Path("requests.jsonl").read_text().splitlines():
            id = json.loads(line)["custom_id"]
            response = {"status_code": 200, "body": body}
            file.write(json.dumps({"custom_id": id, "response": response}) + "\n")
    capsys.readouterr()
    assert cli.main([*scoring, *few]) == 0
    assert "3 samples, 0 unreadable" in capsys.readouterr().out


def test_every_setting_is_named_with_its_default() -> None:
    options = {"url": "--endpoint", "model": "--model", "processor": "--processor"}
    defaults = EndpointConfig()
    for field in dataclasses.fields(EndpointConfig):
        assert options.get(field.name, f"endpoint.{field.name}") in PAGE, field.name
        value = getattr(defaults, field.name)
        if field.name in ("timeout", "retries", "longest_wait"):
            assert re.search(rf"`endpoint.{field.name}` \({value:g}( s)?\)", PAGE), field.name
    assert ", ".join(map(str, BUSY)) in PAGE
