"""Settings beside answers: read, refused, and held against those of another evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vrft.config import coercion
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import settings_file
from vrft.evaluation.benchmark import Benchmark


@pytest.mark.parametrize("text", ["{", "[]"])  # broken; not a mapping
def test_settings_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / settings_file.SETTINGS).write_text(text)
    with pytest.raises(UserError, match=r"settings\.json"):
        settings_file.read_settings(tmp_path)


def test_a_setting_that_an_earlier_version_did_not_have_was_its_default(tmp_path: Path) -> None:
    now = {"benchmark": coercion.to_plain(Benchmark()), "model": coercion.to_plain(ModelConfig())}
    before = {part: dict(tree) for part, tree in now.items()}
    del before["benchmark"]["repeats"], before["model"]["dtype"]
    (tmp_path / settings_file.SETTINGS).write_text(json.dumps(before), encoding="utf-8")
    settings_file.check_same(tmp_path, now)
    twice = {**now, "benchmark": {**now["benchmark"], "repeats": 2}}
    with pytest.raises(UserError, match=r"benchmark\.repeats: 1, not 2"):
        settings_file.check_same(tmp_path, twice)
