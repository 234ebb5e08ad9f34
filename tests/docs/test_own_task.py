"""The task of docs/own-task.md passes its check as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes.folders import ROOT
from PIL import Image

from vrft import cli


def test_the_task_of_the_page_passes_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("naming.py").write_text(code, encoding="utf-8")
    for number, name in enumerate(("cup", "owl")):
        folder = Path("pictures/train") / name
        folder.mkdir(parents=True)
        Image.new("RGB", (56, 56), (120 * number, 40, 90)).save(folder / "1.jpg")
    words = ["task.data_dir=pictures", "model=demo"]
    assert cli.main(["check", "--task", "naming.py", *words]) == 0
    assert "2" in capsys.readouterr().out
