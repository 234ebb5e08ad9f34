"""Typefaces of texts: those that have the letters, and a note on letters that none has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vrft import viz
from vrft.viz import typefaces
from vrft.viz.exhibits import Answer, Exhibit

Capture = pytest.CaptureFixture[str]

SYSTEM, OTHER = ("system.ttf", 0), ("other.ttf", 0)


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(typefaces, "SAID", set())
    typefaces.face_of.cache_clear()
    yield
    typefaces.face_of.cache_clear()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without any typeface."""
    monkeypatch.setattr(typefaces, "system_faces", lambda letters: ())


def panel(question: str, answer: str = "yes") -> viz.Panel:
    return viz.panel(Exhibit("a", question, (Answer("answer", answer, {"iou": 0.5}, True),)))


def test_pillows_own_typeface_has_english_and_lacks_most_else() -> None:
    letters = "aZ09?!.,:;()[]{}<>@#%&*+-=/"
    assert typefaces.lacking(typefaces.OWN, frozenset(letters)) == []
    others = "\u00df\u0416\u4e2d\u6587"
    assert typefaces.lacking(typefaces.OWN, frozenset(others)) == sorted(others)


def test_english_is_drawn_without_asking_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(letters: frozenset[str]) -> Iterator[typefaces.Face]:
        raise AssertionError

    monkeypatch.setattr(typefaces, "system_faces", refuse)
    assert typefaces.typeface(14, "Which one? \t\n \u200b").path == typefaces.typeface(14, "").path


@pytest.mark.parametrize(
    ("text", "face"),
    [
        ("ab", typefaces.OWN),
        ("a\u0416", SYSTEM),  # Cyrillic
        ("a\u4e2d", OTHER),  # Chinese
        ("a\u0416\u4e2d\u6587", OTHER),  # in none together: that which lacks the fewest
        ("a\u0e01", typefaces.OWN),  # in none at all
    ],
)
def test_a_text_has_the_typeface_that_lacks_the_fewest_of_its_letters(
    text: str, face: typefaces.Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {typefaces.OWN: "ab", SYSTEM: "ab\u0416", OTHER: "ab\u4e2d\u6587"}
    monkeypatch.setattr(typefaces, "system_faces", lambda letters: (SYSTEM, OTHER))
    monkeypatch.setattr(typefaces, "loaded", lambda face, size: object())
    monkeypatch.setattr(typefaces, "has", lambda face, letter: letter in known[face])
    assert typefaces.face_of(frozenset(text)) == face


def test_a_typeface_of_the_system_draws_other_letters(capsys: Capture) -> None:
    if typefaces.face_of(frozenset("\u0416")) == typefaces.OWN:
        pytest.skip("no typeface of this system has Cyrillic letters")
    pictures = [panel(question).image().tobytes() for question in ("\u0416", "\u0424")]
    assert pictures[0] != pictures[1]  # as boxes they were the same
    assert "typeface" not in capsys.readouterr().err


@pytest.mark.usefixtures("alone")
def test_letters_that_no_typeface_has_are_named_once(tmp_path: Path, capsys: Capture) -> None:
    shown = panel("\u4e2d?", "\u6587\u6587")
    for _ in range(2):
        shown.save(tmp_path / "x.png")
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(
        "note: no typeface of this system has \u4e2d \u6587, which pictures show"
    )
    # a page has them, and a further picture names what is new
    shown.save(tmp_path / "x.html")
    assert capsys.readouterr().err == ""
    panel("\u4e2d" + "".join(chr(0x4E00 + number) for number in range(12))).image()
    assert " and 2 more, which" in capsys.readouterr().err


def test_fontconfig_is_asked_by_the_numbers_of_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fc-match"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nprintf "/f/x y.ttc\\n65538"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    first, *usual = typefaces.system_faces(frozenset("\u4e2da"))
    assert first == ("/f/x y.ttc", 2) and ("DejaVuSans.ttf", 0) in usual
    assert (tmp_path / "asked").read_text().strip().endswith(":charset=61 4e2d")
    # one that fails, and none
    program.write_text("#!/bin/sh\nexit 1\n")
    assert next(iter(typefaces.system_faces(frozenset("a")))) == (typefaces.USUAL[0], 0)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert next(iter(typefaces.system_faces(frozenset("a")))) == (typefaces.USUAL[0], 0)
