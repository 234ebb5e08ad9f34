import threading
import webbrowser
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from fakes import viewed
from fakes.command_line import complaint

from vrft import cli
from vrft.diagnosis.difficulty import FILE, Attempt, Ledger


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


def test_a_run_is_shown_with_its_ledger_in_a_line_and_a_note_for_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = viewed.evaluations(tmp_path)
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(run / "broken")
    (run / "broken" / "settings.json").write_text("{")
    ledger = Ledger()
    ledger.add([Attempt("a", 2, 1.0, 1, 10, signal=True)])
    ledger.write(run / FILE)
    capsys.readouterr()
    assert cli.main(["view", str(run), "--export", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    line, page = out.splitlines()
    assert line.startswith("difficulty: 1 prompts sampled, 0 never") and page.startswith("page: ")
    assert "note: broken is not shown: " in err and "settings.json: not JSON" in err


def test_a_ledger_that_cannot_be_read_is_noted_and_the_run_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    viewed.evaluations(tmp_path)
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    (run / FILE).write_text('{"sample_id": "a", "sam')
    capsys.readouterr()
    assert cli.main(["view", str(run), "--export", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("page: ") and f"note: {run / FILE}" in err


def test_a_page_is_served_until_it_is_interrupted_and_opened_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    seen = threading.Event()

    def browse(address: str) -> None:
        opened.append(address)
        seen.set()

    def serve_forever(server: ThreadingHTTPServer) -> None:
        assert seen.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", serve_forever)
    before, _ = viewed.evaluations(tmp_path)
    assert cli.main(["view", str(before), "--open"]) == 0
    (address,) = opened
    assert f"{address}  (Ctrl-C ends it)\n" in capsys.readouterr().out
