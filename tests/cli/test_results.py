"""Results of training and evaluation: what is read from their folders, what Jupyter shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import vrft
from vrft.cli.results import TrainResult, html_curve, html_table

LINES = """{"step": 1, "reward": 0.25, "loss": null}
{"step": 2, "reward": 0.75, "loss": 0.125}
{"step": 3, "reward": null, "loss": 0.5}
{"step": 4, "rew"""


def test_a_run_tells_its_metrics_and_its_curve_of_rewards(tmp_path: Path) -> None:
    folder = tmp_path / "run<b>"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(LINES, encoding="utf-8")
    run = TrainResult(folder)
    assert [row["step"] for row in run.metrics] == [1, 2, 3]  # the last line was cut off
    assert run.rewards == {1: 0.25, 2: 0.75}
    assert run.model == folder / "final"
    shown = run._repr_html_()
    assert "run&lt;b&gt;: step 3" in shown and "<td>loss</td><td>0.5</td>" in shown
    assert shown.count("<polyline") == 1 and "steps 1 to 2" in shown


def test_a_curve_goes_from_corner_to_corner_and_needs_two_points() -> None:
    # 100 wide and 28 high, of which 4 above and below are left free: 24 down to 4.
    assert 'points="0.0,24.0 50.0,14.0 100.0,4.0"' in html_curve({1: 0.0, 3: 0.5, 5: 1.0}, 100, 28)
    assert 'points="0.0,24.0 100.0,24.0"' in html_curve({1: 0.5, 2: 0.5}, 100, 28)
    assert html_curve({1: 0.5}) == html_curve({}) == ""


def test_every_text_of_a_table_is_escaped() -> None:
    table = html_table("<script>", ("<a>",), [("<b>",)])
    assert "<script>" not in table and "<a>" not in table and "<b>" not in table


def test_an_evaluation_shows_its_table_and_its_worst_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    picture = Image.new("RGB", (56, 56), "red")
    rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    result = vrft.evaluate("demo", rows, sampling={"max_completion_length": 8})
    page = result._repr_html_()
    assert "<td>accuracy</td><td>0.0</td>" in page and "data:image/jpeg;base64," in page
    # The table is shown without the data, too.
    for file in (tmp_path / "cache" / "rows").iterdir():
        file.unlink()
    page = result._repr_html_()
    assert "<td>accuracy</td><td>0.0</td>" in page and "<img" not in page
