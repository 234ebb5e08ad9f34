"""Demo of few-shot classification: real pictures, and which split may show which."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vrft.demo import fashion
from vrft.demo.fashion import CELL, CLASSES, EDGE, HABIT, HELD, SHEETS, SPLITS, cells, write
from vrft.demo.sprites import ASSETS
from vrft.types import Completion
from vrft_tasks.fewshot_classification import FewshotClassification


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    write(folder, SPLITS)
    return folder


def test_every_class_has_its_sheets_and_nothing_else_is_shipped() -> None:
    for name, count in SHEETS.items():
        shipped = {path.stem for path in (ASSETS / "fashion" / name).iterdir()}
        assert shipped == {fashion.stem(category) for category in CLASSES}
        assert all(cells(name, category).shape == (count, CELL, CELL) for category in CLASSES)
    assert {path.name for path in (ASSETS / "fashion").iterdir()} == set(SHEETS)


def test_the_sheets_stay_below_1200_kB() -> None:
    assert sum(path.stat().st_size for path in (ASSETS / "fashion").rglob("*.png")) < 1_200_000


def test_no_picture_is_shipped_twice() -> None:
    sheets = [cells(name, category) for name in SHEETS for category in CLASSES]
    shipped = {cell.tobytes() for sheet in sheets for cell in sheet}
    assert len(shipped) == 10 * (200 + 60)


def test_a_sheet_is_read_as_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, CELL, CELL), dtype=np.uint8)
    (tmp_path / "fashion" / "lessons").mkdir(parents=True)
    fashion.sheet(pictures).save(tmp_path / "fashion" / "lessons" / "made-up.png")
    monkeypatch.setattr(fashion, "ASSETS", tmp_path)
    assert (cells("lessons", "Made up") == pictures).all()


def test_all_splits_have_as_many_of_each_class_and_share_no_picture(demo: Path) -> None:
    count = Counter(tuple(name.split("/")[:2]) for name in files(demo))
    assert count == {(split, name): SPLITS[split] // 10 for split in SPLITS for name in CLASSES}
    assert len(set(files(demo).values())) == sum(SPLITS.values()) == 600
    with Image.open(demo / "test" / "Bag" / "00008.png") as image:
        assert image.size == (EDGE, EDGE) and image.mode == "L"


def test_a_picture_is_the_shipped_one_twice_as_large(demo: Path) -> None:
    with Image.open(demo / "test" / "Coat" / "00014.png") as image:
        small = np.asarray(image.reduce(2), dtype=float)
    distances = np.abs(cells("shots", "Coat") - small).mean(axis=(1, 2))
    # Number 14 is the second coat of the split.
    assert distances.argmin() == HELD["test"][1]
    assert distances.min() < 10


def test_the_task_reads_every_picture_and_its_gold_answer_earns_full_marks(demo: Path) -> None:
    task = FewshotClassification(data_dir=str(demo), shots=0)
    for split, count in SPLITS.items():
        samples = task.samples(split)
        assert len(samples) == count
        for sample in samples:
            assert Path(sample.id).parts[1] == sample.answer.name
            gold = Completion(task.reference(sample, ()), ())
            assert task.score(sample, gold).metrics["accuracy"] == 1
            assert all(reward(sample, gold) == 1 for reward in task.rewards().values())


def test_the_same_seed_gives_the_same_bytes_and_held_out_pictures_need_none(tmp_path: Path) -> None:
    few = {"train": 120, "val": 20, "test": 20}
    for name, seed in (("first", 3), ("same", 3), ("other", 4)):
        write(tmp_path / name, few, seed)
    first, same, other = (files(tmp_path / name) for name in ("first", "same", "other"))
    assert first == same
    assert {name for name in first if first[name] == other[name]} == {
        name for name in first if not name.startswith("train")
    }


def test_lessons_show_neither_shots_nor_held_out_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spied(sheets: str, name: str) -> NDArray[np.uint8]:
        asked.append(sheets)
        return cells(sheets, name)

    monkeypatch.setattr(fashion, "cells", spied)
    write(tmp_path, {"train": SPLITS["train"] + 1})
    assert set(asked) == {"lessons"} and len(asked) == 41


def test_more_held_out_pictures_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val: 161 pictures; there are 160"):
        write(tmp_path, {"val": 161})


def test_a_careless_annotator_lumps_six_classes_together_as_often_as_told(tmp_path: Path) -> None:
    write(tmp_path, {"train": 500}, carelessness=0.6)
    # The classes take turns, so that the last digit of a picture's number is its true class.
    pairs = [(CLASSES[int(name[-5])], name.split("/")[1]) for name in files(tmp_path)]
    wrong = [(true, annotated) for true, annotated in pairs if true != annotated]
    assert set(wrong) == set(HABIT.items())
    # Of 300 pictures of these classes 180 are expected, give or take a standard deviation of 8.5.
    assert len(pairs) == 500 and 150 < len(wrong) < 210
