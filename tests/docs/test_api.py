"""docs/api.md: its code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes.folders import ROOT
from PIL import Image

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    tmp_path: Path,
    demo_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))
    for name, colour in (("rows", "red"), ("test", "blue")):
        Image.new("RGB", (56, 56), colour).save(f"{name}.png")
        row = {"id": name, "images": [f"{name}.png"], "question": "Which?", "answer": colour}
        Path(f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert '"max_steps": 20}' in block
    exec(compile(block.replace('"max_steps": 20}', '"max_steps": 1}'), "page.py", "exec"), {})
    assert capsys.readouterr().out.endswith("{'accuracy': 0.0}\n")
