"""docs/notebooks.md: its code runs, and its tables name what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes.folders import ROOT
from PIL import Image

from vrft.runs import tracked_rollouts

PAGE = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))
    Image.new("RGB", (56, 56), "red").save("a.png")
    row = {"id": "a", "images": ["a.png"], "question": "the square", "answer": [8, 8, 40, 40]}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (block,) = re.findall(r"```python looking.py\n(.*?)```", PAGE, re.DOTALL)
    assert '"max_steps": 20}' in block
    code = compile(block.replace('"max_steps": 20}', '"max_steps": 1}'), "looking.py", "exec")
    for _ in range(2):  # as cells are run again
        exec(code, {})
    made = {path.name for path in Path("runs").iterdir()}
    assert {"curves.svg", "worst.html", "change.png"} <= made


def test_the_page_names_the_notebooks_and_the_trackers_that_there_are() -> None:
    notebooks = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(re.findall(r"^\| `(\w+\.ipynb)`", PAGE, re.MULTILINE)) == notebooks
    code = Path(tracked_rollouts.__file__).read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \| (?:histograms)", PAGE, re.MULTILINE)
    assert named == re.findall(r'^        case "(\w+)":$', code, re.MULTILINE)
