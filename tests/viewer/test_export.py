from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import viewed

from vrft.errors import UserError
from vrft.viewer import export, site, views


def test_a_site_is_written_with_the_app_its_documents_and_pictures(tmp_path: Path) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    page = export.export(opened, tmp_path / "out")
    files = {str(p.relative_to(tmp_path / "out")) for p in page.parent.rglob("*") if p.is_file()}
    assert {file.name for file in site.APP.iterdir()} <= files
    assert {f"data/{name}.js" for name in opened.documents()} <= files
    assert {f"pictures/{name}" for name in opened.pictures()} <= files
    assert {f"thumbnails/{name}.jpg" for name in opened.pictures()} <= files
    # An export is replaced by the next one.
    assert export.export(opened, tmp_path / "out") == page


def test_an_export_into_a_file_is_refused_in_a_line(tmp_path: Path) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    file = tmp_path / "answers.jsonl"
    file.write_text("kept")
    with pytest.raises(
        UserError, match=r"answers\.jsonl: is a file; name an empty or a new folder"
    ):
        export.export(opened, file)
    with pytest.raises(UserError, match="cannot be written"):
        export.export(opened, file / "page")
    assert file.read_text() == "kept"


def test_a_file_of_two_views_is_written_once(tmp_path: Path) -> None:
    opened = views.open_site(list(viewed.evaluations(tmp_path)))
    page = export.export(opened, tmp_path / "out")
    for kind, end in (("pictures", ""), ("thumbnails", ".jpg")):
        for name in opened.views["e0"].pictures():
            first, second = (page.parent / kind / view / f"{name}{end}" for view in ("e0", "e1"))
            assert first.samefile(second)


def test_a_large_export_has_thumbnails_of_its_first_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_THUMBNAILS", 2)
    opened = views.open_site(list(viewed.evaluations(tmp_path)))
    page = export.export(opened, tmp_path / "out")
    made = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*.jpg")}
    names = list(opened.views["e0"].pictures())
    assert len(names) == 4
    for view in ("e0", "e1"):
        assert {f"pictures/{view}/{name}" for name in names} <= made
        assert {f"thumbnails/{view}/{name}.jpg" for name in names[:2]} <= made
        assert not {f"thumbnails/{view}/{name}.jpg" for name in names[2:]} & made


def test_where_links_cannot_be_made_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(export.os, "link", refuse)
    (tmp_path / "a").write_text("a")
    export.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "a"


def test_a_document_that_cannot_be_read_is_noted_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    viewed.evaluations(tmp_path)
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    (run / "metrics.jsonl").write_text("{}\nnonsense\n{}\n")
    export.export(views.open_site([run]), tmp_path / "out")
    assert "note: r0/metrics is not in the page" in capsys.readouterr().err
    assert (tmp_path / "out" / "data" / "r0" / "metrics.js").read_text().startswith("vrft.refuse(")
    assert (tmp_path / "out" / "data" / "r0" / "step-3.js").is_file()


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="holds other files"):
        export.export(opened, tmp_path / "mine")


@pytest.mark.parametrize("catalogue", [None, "export const catalogue = [];"])
def test_a_page_of_somebody_else_is_left_alone(tmp_path: Path, catalogue: str | None) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    (tmp_path / "web" / "data").mkdir(parents=True)
    for name in ("app.js", "index.html"):
        (tmp_path / "web" / name).write_text("mine")
    if catalogue is not None:
        (tmp_path / "web" / "data" / "catalogue.js").write_text(catalogue)
    with pytest.raises(UserError, match="holds other files"):
        export.export(opened, tmp_path / "web")
    assert (tmp_path / "web" / "index.html").read_text() == "mine"


def test_an_export_that_was_interrupted_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(site.Site, "document", interrupted(site.Site.document))
        export.export(opened, tmp_path / "out")
    assert export.export(opened, tmp_path / "out").is_file()


def interrupted(document: Callable[[site.Site, str], str]) -> Callable[[site.Site, str], str]:
    """Return a function that makes one document and is interrupted at the next."""
    made: list[str] = []

    def one(opened: site.Site, name: str) -> str:
        if made:
            raise KeyboardInterrupt
        made.append(name)
        return document(opened, name)

    return one


def test_every_script_of_the_page_is_part_of_the_app() -> None:
    page = (site.APP / "index.html").read_text()
    scripts = {file.name for file in site.APP.glob("*.js")}
    assert scripts and all(f'<script src="{name}">' in page for name in scripts)
    assert "http" not in page.replace("http-equiv", "")
