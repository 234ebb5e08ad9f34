from pathlib import Path

import pytest
from fakes import viewed
from fakes.command_line import complaint

from vrft import cli


def test_view_exports_a_folder_and_names_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = viewed.evaluations(tmp_path)
    out = tmp_path / "out"
    assert cli.main(["view", str(before), str(after), "--export", str(out)]) == 0
    assert capsys.readouterr().out == f"page: {out / 'index.html'}\n"
    assert (out / "data" / "catalogue.js").is_file()


def test_view_refuses_a_path_that_holds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no such file or folder" in complaint(capsys, "view", str(tmp_path / "none"))
