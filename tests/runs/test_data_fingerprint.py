"""A run knows its training data again: samples, their order, and pictures as far as is cheap."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vrft.errors import UserError
from vrft.runs import data_fingerprint
from vrft.types import Sample

Make = Callable[[Path], Sequence[Sample[Any]]]


def picture(path: Path, colour: str = "red", size: int = 20) -> Path:
    Image.new("RGB", (size, size), colour).save(path, format="BMP")  # of one size in all colours
    return path


def letters(folder: Path) -> list[Sample[Any]]:
    """Three samples, each with a picture in a file."""
    return [
        Sample(name, f"Where is {name}?", 1, (picture(folder / f"{name}.bmp"),)) for name in "abc"
    ]


def compared(run: Path, samples: Sequence[Sample[Any]]) -> data_fingerprint.DataChanges:
    return data_fingerprint.compare(run, samples)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made, ()),
        # removed, added, both
        (lambda made: made[1:], ("1 removed: 'a'",)),
        (lambda made: [*made, Sample("d", "?", 1)], ("1 added: 'd'",)),
        (
            lambda made: [*made[:2], Sample("d", "?", 1)],
            ("1 removed: 'c'", "1 added: 'd'"),
        ),
        (lambda made: [], ("3 removed: 'a', 'b', 'c'",)),
        (
            lambda made: [*made, *(Sample(f"{n}", "?", 1) for n in range(5))],
            ("5 added: '0', '1', '2' and 2 more",),
        ),
        # reordered: the stream would show other samples
        (lambda made: made[::-1], ("in another order",)),
        # another question, gold answer, type of the answer, number of pictures
        (
            lambda made: [replace(made[0], question="Which?"), *made[1:]],
            ("1 with another question or answer: 'a'",),
        ),
        (
            lambda made: [made[0], *(replace(sample, answer=2) for sample in made[1:])],
            ("2 with another question or answer: 'b', 'c'",),
        ),
        (
            lambda made: [replace(made[0], answer="1"), *made[1:]],
            ("1 with another question or answer: 'a'",),
        ),
        (
            lambda made: [replace(made[0], images=()), *made[1:]],
            ("1 with other pictures: 'a'",),
        ),
        # the subset is counted in reports alone
        (lambda made: [replace(made[0], subset="easy"), *made[1:]], ()),
    ],
)
def test_what_differs_is_said(
    change: Callable[[list[Any]], list[Any]], said: tuple[str, ...], tmp_path: Path
) -> None:
    made = letters(tmp_path)
    data_fingerprint.write(tmp_path, made, 8)
    assert compared(tmp_path, change(made)) == data_fingerprint.DataChanges(said)
    assert data_fingerprint.prompts_per_step(tmp_path) == 8


def resized(path: Path) -> None:
    picture(path, size=30)


def recoloured(path: Path) -> None:
    picture(path, "blue")


def copied(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def removed(path: Path) -> None:
    path.unlink()


OTHER = ("1 with other pictures: 'b'",)


@pytest.mark.parametrize(
    ("change", "few", "many"),
    [
        # the size tells, whether contents are hashed (few pictures) or not (many)
        (resized, OTHER, OTHER),
        (removed, OTHER, OTHER),
        # the same size: the hash tells, and without one it is said that nothing can be told
        (recoloured, OTHER, "note"),
        (copied, (), "note"),
    ],
)
@pytest.mark.parametrize("hashed", [True, False])
def test_pictures_in_files(
    change: Callable[[Path], None],
    few: Any,
    many: Any,
    hashed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hashed:
        monkeypatch.setattr(data_fingerprint, "HASHED_BYTES", 100)
    made = letters(tmp_path)
    for sample in made:
        os.utime(sample.images[0], ns=(7, 7))  # the changes below are at another time
    data_fingerprint.write(tmp_path, made, 8)
    change(tmp_path / "b.bmp")
    expected, comparison = few if hashed else many, compared(tmp_path, made)
    if expected == "note":
        assert comparison.differences == ()
        assert "the pictures of 1 samples ('b') have been written anew" in comparison.note
    else:
        assert comparison == data_fingerprint.DataChanges(expected)


def encoded(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(file, format="BMP")
    return file.getvalue()


@pytest.mark.parametrize(
    "show",
    [
        # in memory: Pillow's, NumPy's, the bytes of a file, and the hub's form
        lambda colour: Image.new("RGB", (9, 9), colour),
        lambda colour: np.asarray(Image.new("RGB", (9, 9), colour)),
        encoded,
        lambda colour: {"bytes": encoded(colour), "path": None},
    ],
)
def test_pictures_in_memory(show: Callable[[str], Any], tmp_path: Path) -> None:
    made = {colour: [Sample("a", "?", 1, (show(colour),))] for colour in ("red", "blue")}
    data_fingerprint.write(tmp_path, made["red"], 8)
    assert compared(tmp_path, made["red"]).differences == ()
    assert compared(tmp_path, made["blue"]).differences == ("1 with other pictures: 'a'",)


def test_opened_pictures_are_not_decoded_and_bad_ones_do_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "tobytes", lambda self: 1 / 0)
    with (
        Image.open(picture(tmp_path / "a.bmp")) as opened,
        Image.open(io.BytesIO(encoded("red"))) as inner,
    ):
        shown: tuple[Any, ...] = (opened, inner, tmp_path / "none.png", "https://there/a.png", 7)
        made = [Sample("a", "?", 1, shown), Sample("\ud83d", "half \ud83d", float("nan"))]
        data_fingerprint.write(tmp_path, made, 8)
        assert compared(tmp_path, made) == data_fingerprint.DataChanges()


def test_answers_of_any_type_are_the_same_in_every_process(tmp_path: Path) -> None:
    answers = [None, {"b": 1, "a": [2]}, {"x", "y", "z"}, np.zeros(3), Path("a"), b"bytes", (1, 2)]
    made = [Sample(str(n), "?", answer) for n, answer in enumerate(answers)]
    data_fingerprint.write(tmp_path, made, 8)
    assert compared(tmp_path, made) == data_fingerprint.DataChanges()


def test_a_run_without_a_fingerprint_is_compared_with_nothing_and_says_so(tmp_path: Path) -> None:
    comparison = compared(tmp_path, letters(tmp_path))
    assert comparison.differences == () and "its data are not compared" in comparison.note
    assert data_fingerprint.prompts_per_step(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        # cut off, empty, no object, nothing in it, rows of other types
        '{"prompts_per_step": 8, "samples": [["a"',
        "",
        "[]",
        "{}",
        '{"prompts_per_step": 8, "samples": 3}',
        '{"prompts_per_step": 8, "samples": [1]}',
        '{"prompts_per_step": 8, "samples": [["a"]]}',
        '{"prompts_per_step": "x", "samples": []}',
    ],
)
def test_a_file_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / data_fingerprint.NAME).write_text(text)
    with pytest.raises(
        UserError, match=r"fingerprint\.json: not the fingerprint of a run"
    ) as caught:
        compared(tmp_path, [])
    assert "\n" not in str(caught.value)


def test_the_file_has_a_line_a_sample(tmp_path: Path) -> None:
    data_fingerprint.write(tmp_path, letters(tmp_path), 8)
    lines = (tmp_path / data_fingerprint.NAME).read_text().splitlines()
    assert len(lines) == 3 + 2
    assert json.loads(lines[1].removesuffix(","))[0] == "a"


@pytest.mark.parametrize("count", [0, 1, data_fingerprint.FILES, 3 * data_fingerprint.FILES + 1])
def test_threads_give_values_in_the_order_of_the_files(count: int) -> None:
    files = [Path(str(number)) for number in range(count)]
    names = [path.name for path in files]
    assert data_fingerprint.in_threads(lambda path: path.name, files) == names
