"""Demo of counting: pictures with their numbers of objects, in the rows of CLEVR CoGenT."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vrft.demo.counting import COUNTS, EDGES, QUESTION, draw, write
from vrft.demo.scenes import split_of
from vrft.types import Completion
from vrft_tasks.counting import Counting

SPLITS = {"train": 40, "val": 10, "test": 20}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counting")
    write(folder, SPLITS)
    return folder


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_has_the_published_columns_and_all_counts_equally_often(
    demo: Path, split: str
) -> None:
    written = rows(demo, split)
    assert len(written) == len(list((demo / split).iterdir())) == SPLITS[split]
    assert all(set(row) == {"image", "problem", "solution"} for row in written)
    counts = Counter(row["solution"] for row in written)
    share = SPLITS[split] // 5
    assert counts == {f"<answer> {count} </answer>": share for count in (2, 3, 4, 5, 6)}
    for row in written:
        with Image.open(demo / row["image"]) as image:
            assert image.format == "JPEG" and image.size == (112, 112)


def test_the_task_reads_every_row_and_its_reference_earns_full_marks(demo: Path) -> None:
    task = Counting(data_dir=str(demo), template="{question}")
    for split, count in SPLITS.items():
        samples = task.samples(split)
        assert len(samples) == count
        for sample in samples:
            assert task.prompt(sample).text == QUESTION
            completion = Completion(task.reference(sample, ()))
            assert all(r(sample, completion) == 1 for r in task.rewards().values())


def test_the_same_seed_gives_the_same_bytes_and_another_gives_other_pictures(
    demo: Path, tmp_path: Path
) -> None:
    write(tmp_path / "same", SPLITS)
    assert files(tmp_path / "same") == files(demo)
    write(tmp_path / "other", SPLITS, seed=1)
    assert rows(tmp_path / "other", "val") == rows(demo, "val")  # of the same numbers in turns
    path = "val/00000.jpg"
    assert files(tmp_path / "other")[path] != files(demo)[path]


def test_no_composition_is_drawn_for_two_splits_whatever_the_seed() -> None:
    for seed, split in enumerate(("train", "val", "test")):
        rng = np.random.default_rng(seed)
        assert {split_of(draw(rng, 2, split)) for _ in range(20)} == {split}


@pytest.mark.parametrize("count", COUNTS)
def test_a_picture_shows_as_many_objects_as_asked_for_and_none_touches_another(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(10):
        boxes = [shown.box for shown in draw(rng, count, "train").objects]
        assert len(boxes) == count
        covered = np.zeros((112, 112), int)
        for x1, y1, x2, y2 in boxes:
            covered[y1:y2, x1:x2] += 1
            # What is transparent at the drawing's edges, and rounding, is cut off.
            assert EDGES[0] * 112 - 6 <= max(x2 - x1, y2 - y1) <= EDGES[1] * 112 + 1
        assert covered.max() == 1


@pytest.mark.parametrize(("carelessness", "low", "high"), [(0, 0, 0), (0.6, 40, 80), (1, 100, 100)])
def test_a_careless_annotator_misses_one_object_as_often_as_told(
    carelessness: float, low: int, high: int, tmp_path: Path
) -> None:
    write(tmp_path, {"train": 100}, carelessness=carelessness)
    answers = [int(row["solution"].split()[1]) for row in rows(tmp_path, "train")]
    missed = [COUNTS[number % 5] - answer for number, answer in enumerate(answers)]
    assert set(missed) <= {0, 1} and low <= sum(missed) <= high


def test_carelessness_changes_answers_but_not_pictures(demo: Path, tmp_path: Path) -> None:
    write(tmp_path, SPLITS, carelessness=0.5)
    right, wrong = files(demo), files(tmp_path)
    assert {path for path in right if right[path] != wrong[path]} <= {
        f"{split}.jsonl" for split in SPLITS
    }
    assert right["train.jsonl"] != wrong["train.jsonl"]
