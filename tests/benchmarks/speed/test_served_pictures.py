"""benchmarks/speed/served_pictures.py: the page is made of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed import served_pictures
from vrft.config.schema import Config
from vrft.engines import server_check
from vrft.models.families import read_config
from vrft.sft import fine_tune


def test_the_model_is_of_a_shape_that_a_server_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Config] = []
    monkeypatch.setattr(served_pictures, "LESSONS", 5)
    monkeypatch.setattr(fine_tune, "train", asked.append)
    assert served_pictures.teach(tmp_path) == Path(asked[0].train.output_dir) / "final"
    server_check.check_shape(read_config(asked[0].model.name), "float32", cpu=True)
    rows = (tmp_path / "lessons" / "train.jsonl").read_text().splitlines()
    assert len(rows) == 5


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    measured = json.loads(served_pictures.RESULTS.read_text(encoding="utf-8"))
    assert set(measured["runs"]) == set(served_pictures.ENGINES)
    assert all(len(runs) >= 3 for runs in measured["runs"].values())
    assert served_pictures.PAGE.read_text(encoding="utf-8") == served_pictures.page(measured)
    assert "-dirty" not in measured["commit"]
