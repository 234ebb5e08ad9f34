import json
from pathlib import Path

import pytest
from fakes import viewed

from vrft.errors import UserError
from vrft.viewer import site, views


def test_every_named_document_can_be_made(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    opened = views.open_site([viewed.run(tmp_path / "run", tmp_path / "data"), before, after])
    names = opened.documents()
    assert names[0] == "catalogue" and {"r0/step-3", "e0/table", "e1/texts-0"} <= set(names)
    for name in names:
        assert opened.document(name).startswith(f'vrft.receive("{name}",')
    for name in opened.pictures():
        assert opened.picture(name)


@pytest.mark.parametrize("name", ["e9/table", "e0", "", "e0/../../x", "catalogue/x"])
def test_no_other_document_is_made(tmp_path: Path, name: str) -> None:
    opened = views.open_site([viewed.evaluations(tmp_path)[0]])
    with pytest.raises(KeyError):
        opened.document(name)


def test_a_document_is_ascii_without_any_tag() -> None:
    text = site.script("a", {"text": "</script><!-- \ud83d \u2028 é"})
    assert text.isascii() and "<" not in text
    content = text.removeprefix('vrft.receive("a",').removesuffix(");\n")
    assert json.loads(content) == {"text": "</script><!-- \ud83d \u2028 é"}


def test_a_document_has_null_for_nan() -> None:
    assert site.script("a", [float("nan")]) == 'vrft.receive("a",[null]);\n'


def test_a_document_that_cannot_be_read_says_why_and_the_others_are_there(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    (run / "metrics.jsonl").write_text("{}\nnonsense\n{}\n")
    opened = views.open_site([run, before, after])
    text = opened.document("r0/metrics")
    assert text.startswith('vrft.refuse("r0/metrics","') and "metrics.jsonl" in text
    assert opened.document("e0/table").startswith("vrft.receive(")


def test_nothing_is_no_site() -> None:
    with pytest.raises(UserError, match="nothing to view"):
        site.check_views({})
