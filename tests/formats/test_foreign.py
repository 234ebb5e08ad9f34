"""Conversion: what is written in a format is read back as the same questions and answers."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft.annotations import written_shapes
from vrft.annotations.frames import PIXELS, Frame, Unit
from vrft.errors import UserError
from vrft.formats import foreign, recognition
from vrft.formats.recognition import FormatName, Reading
from vrft.formats.rows import Row
from vrft.images import FORMATS, content_hash, image_size
from vrft.records.picture_files import SUFFIXES
from vrft.types import PLACE

HERE = RECORDS / "formats"
ROWS: tuple[FormatName, ...] = (
    "canonical", "trl", "llava", "vlm-r1", "sharegpt", "swift", "openai", "verl", "easyr1", "r1v",
)  # fmt: skip


def converted(source: str, name: FormatName, folder: Path) -> tuple[Reading, Reading]:
    """A sample file, and what is read of it when it has been written in another format."""
    before = recognition.read(HERE / source, "train")
    out = folder / f"out{foreign.WRITERS[name][1]}"
    assert foreign.convert(before, Frame(before.unit), name, out) == len(before.rows)
    told: FormatName | None = name if name in ("llava", "vlm-r1") else None
    outside = foreign.names_outside(before, name, out)
    after = recognition.read(out, "train", name=told, allow_outside=outside)
    assert after.name == name
    return before, after


def placed(row: Row, unit: Unit) -> list[tuple[float, ...]]:
    """The boxes of a row in fractions, to five digits."""
    size = image_size(row.files()[0])
    frame = Frame(row.unit or unit)
    shapes = [frame.shape(numbers, size) for numbers in written_shapes.written(row.answer) or ()]
    return [tuple(round(value, 5) for value in astuple(shape)) for shape in shapes]


def asked(row: Row) -> list[str]:
    """The texts of a row's turns, without places before the first one, which is the default."""
    first, *rest = [*(turn.text for turn in row.turns), row.question]
    while first.startswith(PLACE):
        first = first.removeprefix(PLACE)
    return [first, *rest]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("source", ["canonical.jsonl", "vlm_r1.jsonl", "swift.jsonl", "coco.json"])
def test_boxes_make_the_round_trip(source: str, name: FormatName, tmp_path: Path) -> None:
    before, after = converted(source, name, tmp_path)
    for old, new in zip(before.rows, after.rows, strict=True):
        assert (new.id, asked(new)) == (old.id, asked(old))
        assert placed(new, after.unit) == placed(old, before.unit)
        assert [*map(content_hash, new.files())] == [*map(content_hash, old.files())]


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("easyr1", "r1v")])
@pytest.mark.parametrize("source", ["trl.jsonl", "llava.json", "swift_solution.jsonl"])
def test_turns_and_system_texts_make_the_round_trip(
    source: str, name: FormatName, tmp_path: Path
) -> None:
    before, after = converted(source, name, tmp_path)
    for old, new in zip(before.rows, after.rows, strict=True):
        assert (new.id, new.system, new.answer) == (old.id, old.system, old.answer)
        assert asked(new) == asked(old)
        assert [turn.role for turn in new.turns] == [turn.role for turn in old.turns]


@pytest.mark.parametrize("name", ROWS)
def test_options_and_several_pictures_make_the_round_trip(name: FormatName, tmp_path: Path) -> None:
    before, after = converted("canonical_vqa.jsonl", name, tmp_path)
    for old, new in zip(before.rows, after.rows, strict=True):
        assert (new.options, new.answer) == (old.options, old.answer)
        assert [*map(content_hash, new.files())] == [*map(content_hash, old.files())]


@pytest.mark.parametrize("name", ROWS)
def test_columns_that_the_first_row_lacks_are_kept(name: FormatName, tmp_path: Path) -> None:
    plain = {"id": "1", "question": "How wide?", "answer": 2.0}
    asked = {"id": "2", "question": "Which?", "answer": 4, "options": [1.0, 4.0], "subset": "s"}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([plain, asked]), encoding="utf-8")
    out = tmp_path / f"out{foreign.WRITERS[name][1]}"
    assert foreign.convert(recognition.read(file, "train"), PIXELS, name, out) == 2
    first, second = recognition.read(out, "train", name=name).rows
    assert (first.options, first.subset) == ((), "")
    assert (second.options, second.subset) == (("1", "4"), "s")
    if name != "canonical":  # which has numbers
        assert (first.answer, second.answer) == ("2", "4")


@pytest.mark.parametrize("name", ROWS)
def test_half_a_surrogate_pair_is_written_as_it_was_or_refused(
    name: FormatName, tmp_path: Path
) -> None:
    file, out = tmp_path / "rows.json", tmp_path / f"out{foreign.WRITERS[name][1]}"
    file.write_text(json.dumps([{"id": "a\ud83d", "question": "?", "answer": "1"}]))
    reading = recognition.read(file, "train")
    if out.suffix == ".parquet":
        with pytest.raises(UserError, match="half a character, which parquet cannot hold"):
            foreign.convert(reading, PIXELS, name, out)
        return
    foreign.convert(reading, PIXELS, name, out)
    assert [row.id for row in recognition.read(out, "train", name=name).rows] == ["a\ud83d"]


def test_pictures_of_any_row_may_lie_outside(tmp_path: Path) -> None:
    lines = [{"question": "?", "answer": "1"}]
    lines.append({"question": "?", "answer": "2", "images": [str(HERE / "a.png")]})
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(lines), encoding="utf-8")
    reading = recognition.read(file, "train", allow_outside=True)
    assert foreign.names_outside(reading, "trl", tmp_path / "o.jsonl")
    assert not foreign.names_outside(reading, "trl", HERE / "o.jsonl")
    assert not foreign.names_outside(reading, "verl", tmp_path / "o.parquet")


@pytest.mark.parametrize("name", ["coco", "labelme"])
def test_labels_make_the_round_trip(name: FormatName, tmp_path: Path) -> None:
    before, after = converted("coco.json", name, tmp_path)
    assert [row.question for row in after.rows] == ["rectangle", "rectangle"]
    assert [placed(row, "pixels") for row in after.rows] == [
        placed(row, "pixels") for row in before.rows
    ]


def test_reasonseg_takes_a_box_a_picture(tmp_path: Path) -> None:
    before, after = converted("vlm_r1.jsonl", "reasonseg", tmp_path)
    assert [placed(row, "pixels") for row in after.rows] == [
        placed(row, "pixels") for row in before.rows
    ]
    with pytest.raises(UserError, match=r"line 2: reasonseg has one question and one box"):
        converted("canonical.jsonl", "reasonseg", tmp_path / "again")


def test_boxes_are_written_in_the_unit_of_the_format(tmp_path: Path) -> None:
    reading = recognition.read(HERE / "canonical.jsonl", "train")
    for name, answer in (("llava", "[0.1, 0.2, 0.5, 0.5]"), ("vlm-r1", "[12, 18, 60, 45]")):
        out = tmp_path / f"{name}.jsonl"
        foreign.convert(reading, PIXELS, name, out)  # type: ignore[arg-type]
        first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
        assert first["conversations"][-1] == {"from": "gpt", "value": answer}


@pytest.mark.parametrize(
    ("source", "name", "out", "complaint"),
    [
        # a format that cannot hold a row; it is named, and no file is left
        ("trl.jsonl", "easyr1", "o.parquet", "line 1: easyr1 has no place for turns"),
        ("canonical_vqa.jsonl", "coco", "o.json", "line 1: expected boxes in one picture"),
        # a file of another kind, and one that is there
        ("trl.jsonl", "verl", "o.jsonl", "verl is a file o.parquet"),
        ("coco.json", "labelme", "o.json", "labelme is a folder, without a suffix"),
        ("trl.jsonl", "trl", "", "exists already; give another --out"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    source: str, name: FormatName, out: str, complaint: str, tmp_path: Path
) -> None:
    reading = recognition.read(HERE / source, "train")
    with pytest.raises(UserError, match=complaint):
        foreign.convert(reading, PIXELS, name, tmp_path / out)
    assert not (tmp_path / out).is_file()


def test_boxes_outside_their_picture_are_not_converted(tmp_path: Path) -> None:
    reading = recognition.read(HERE / "canonical.jsonl", "train")
    with pytest.raises(UserError, match=r"line 1: .*data\.boxes=pixels"):
        foreign.convert(reading, Frame("fractions"), "trl", tmp_path / "o.jsonl")


def test_columns_without_a_place_are_named(tmp_path: Path) -> None:
    rows = [{"question": "?", "answer": "1", "source": "web"}, {"question": "?", "answer": "2"}]
    rows.append({"question": "?", "answer": "3", "note": float("nan")})  # type: ignore[dict-item]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert recognition.read(file, "train").left_out() == ["source"]


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_a_picture_without_an_ending_is_given_one_of_its_kind(kind: str, tmp_path: Path) -> None:
    file, image = tmp_path / "content", Image.new("RGB", (8, 6), "red")
    several = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    image.save(file, kind, **several)
    suffix = foreign.suffix_of(file)
    assert suffix in SUFFIXES
    assert Image.registered_extensions()[suffix] == kind.replace("MPO", "JPEG")
