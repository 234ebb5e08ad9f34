import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from fakes import viewed
from fakes.command_line import complaint

from vrft import cli


@pytest.fixture
def run(tmp_path: Path, model_folder: Callable[[str], Path]) -> Path:
    """Return a run with an evaluation, whose model is a tiny one."""
    before, _ = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(folder / "eval")
    shutil.copytree(model_folder("qwen2_vl"), folder / "final")
    return folder


def test_a_run_is_handed_on_with_its_card(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "owl-finder"
    assert cli.main(["export", str(run), "--to", str(out), "--dtype", "float32"]) == 0
    # One picture with one instruction each: four samples.
    assert f"model: {out}\ngreedy answers as before: 4 of 4\n" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "# owl-finder" in card and "| four | iou | 37.5" in card and "the owl" in card


def test_without_its_data_a_model_is_handed_on_and_that_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "data")
    assert cli.main(["export", str(run), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "answers were not compared" in said.err and "as before" not in said.out


def test_a_folder_that_is_not_empty_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not empty" in complaint(capsys, "export", str(run), "--to", str(run))


def test_a_model_without_adapter_is_not_merged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    capsys.readouterr()
    assert cli.main(["export", str(run), "--to", out, "--merge"]) == 2
    assert "has no adapter" in capsys.readouterr().err


class Hub:
    """The hub as far as an upload needs it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, []  # type: ignore[var-annotated]

    def create_repo(self, name: str, exist_ok: bool) -> None:
        if self.error:
            raise self.error
        self.calls.append((name, exist_ok))

    def upload_folder(self, repo_id: str, folder_path: Path) -> None:
        self.calls.append((repo_id, folder_path.name))


@pytest.mark.parametrize(
    "error", [None, ValueError("no token\nmore"), OSError("no network")], ids=str
)
def test_a_push_uploads_the_folder_or_says_how_to(
    error: Any,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = Hub(error)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    status = cli.main(["export", str(run), "--to", str(tmp_path / "out"), "--push", "me/owl"])
    said = capsys.readouterr()
    if error is None:
        assert status == 0 and "https://huggingface.co/me/owl" in said.out
        assert hub.calls == [("me/owl", True), ("me/owl", "out")]
    else:
        assert status == 2 and f"--push me/owl: {str(error).splitlines()[0]};" in said.err
        assert "hf upload me/owl" in said.err
