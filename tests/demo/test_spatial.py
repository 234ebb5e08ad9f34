"""Demo of spatial reasoning: four types of question with one right option, in CV-Bench rows."""

import json
from collections import Counter, defaultdict
from math import dist
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vrft.demo.scenes import SceneObject, split_of
from vrft.demo.spatial import (
    CLOSER,
    DROP,
    FOCUS,
    FRAMES,
    HORIZON,
    NEARER,
    SIDES,
    TYPES,
    Question,
    draw,
    write,
)
from vrft.types import Completion
from vrft_tasks.spatial import Spatial

SPLITS = {"train": 96, "val": 16, "test": 32}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spatial")
    write(folder, SPLITS)
    return folder


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def questions(kind: str, number: int = 40) -> list[Question]:
    rng = np.random.default_rng(3)
    return [draw(rng, kind, turn, "train") for turn in range(number)]


def in_frame(question: Question, colour: str) -> SceneObject:
    """Return the object whose frame has the colour just outside its upper left corner."""
    pixels = question.scene.image.load()
    assert pixels is not None
    (framed,) = [
        shown
        for shown in question.scene.objects
        if pixels[shown.box[0] - 1, shown.box[1] - 1] == FRAMES[colour]
    ]
    return framed


def right_first(question: Question) -> list[str]:
    return sorted(question.options, key=lambda option: option != question.right)


def test_rows_have_columns_of_cv_bench_and_the_types_take_turns(demo: Path) -> None:
    columns = {"idx", "type", "task", "source", "image", "question", "choices", "answer"}
    for split, count in SPLITS.items():
        written = rows(demo, split)
        assert [row["idx"] for row in written] == list(range(count))
        assert all(set(row) == columns and row["source"] == "demo" for row in written)
        assert Counter(row["task"] for row in written) == dict.fromkeys(TYPES, count // 4)
        assert all(row["type"] == TYPES[row["task"]] for row in written)
        for row in written:
            with Image.open(demo / row["image"]) as image:
                assert image.format == "JPEG" and image.size == (112, 112)


def test_letters_and_answers_of_each_type_are_equally_often_right(demo: Path) -> None:
    letters: defaultdict[str, Counter[str]] = defaultdict(Counter)
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(demo, "train"):
        letters[row["task"]][row["answer"]] += 1
        answers[row["task"]][row["choices"]["ABCD".index(row["answer"][1])]] += 1
    assert letters.pop("Count") == dict.fromkeys(("(B)", "(C)", "(D)"), 8)  # "(A)" is 1 of 1 to 4
    assert list(letters.values()) == [{"(A)": 12, "(B)": 12}] * 3
    assert answers["Count"] == {"2": 8, "3": 8, "4": 8}
    assert answers["Relation"] == dict.fromkeys(SIDES, 6)
    assert answers["Depth"] == answers["Distance"] == {"red": 12, "blue": 12}


def test_the_task_reads_every_row_and_its_reference_earns_full_marks(demo: Path) -> None:
    task = Spatial(data_dir=str(demo), template="{question}")
    for split, count in SPLITS.items():
        samples = task.samples(split)
        assert len(samples) == count
        assert {sample.subset for sample in samples} == set(TYPES)
        for sample in samples:
            completion = Completion(task.reference(sample, ()))
            assert all(r(sample, completion) == 1 for r in task.rewards().values())


def test_the_same_seed_gives_the_same_bytes_and_another_gives_other_pictures(
    demo: Path, tmp_path: Path
) -> None:
    write(tmp_path / "same", SPLITS)
    assert files(tmp_path / "same") == files(demo)
    write(tmp_path / "other", {"val": 16}, seed=1)
    assert files(tmp_path / "other")["val/00000.jpg"] != files(demo)["val/00000.jpg"]


@pytest.mark.parametrize("kind", TYPES)
def test_no_composition_is_drawn_for_two_splits_whatever_the_seed(kind: str) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        rng = np.random.default_rng(seed)
        assert {split_of(draw(rng, kind, n, split).scene) for n in range(5)} == {split}


def test_count_is_right_about_the_objects_and_the_careless_one_misses_one() -> None:
    for question in questions("Count"):
        number = len(question.scene.objects)
        assert (question.right, question.careless) == (str(number), str(number - 1))
        assert {question.right, question.careless} <= set(question.options)


def test_relation_is_right_about_the_centres() -> None:
    for question in questions("Relation"):
        assert question.text == "Where is the red one, seen from the blue one?"
        red, blue = in_frame(question, "red").box, in_frame(question, "blue").box
        right = red[0] + red[2] - blue[0] - blue[2]
        down = red[1] + red[3] - blue[1] - blue[3]
        along = "right" if right > 0 else "left"
        across = "below" if down > 0 else "above"
        assert question.right == (along if abs(right) >= abs(down) else across)
        assert question.right in question.options


def test_the_nearer_of_two_framed_objects_stands_lower_and_looks_larger() -> None:
    for question in questions("Depth"):
        near, far = (in_frame(question, colour) for colour in right_first(question))
        assert near.box[3] > far.box[3]

        def edge(shown: SceneObject) -> int:
            return max(shown.box[2] - shown.box[0], shown.box[3] - shown.box[1])

        # Equal in truth, they look as large as they are near; pixels round that by one or two.
        assert edge(near) + 2 >= NEARER * (edge(far) - 2)


def test_the_closer_of_two_framed_objects_is_so_on_the_ground() -> None:
    def ground(shown: SceneObject) -> tuple[float, float]:
        # A pinhole camera: so far below the horizon as it is near, so far aside as it is far.
        depth = DROP / (shown.box[3] - HORIZON)
        return ((shown.box[0] + shown.box[2]) / 2 - 56) / FOCUS * depth, depth

    for question in questions("Distance"):
        green = ground(in_frame(question, "green"))
        close, away = (ground(in_frame(question, colour)) for colour in right_first(question))
        # A pixel is a fiftieth of a distance at most, but for the shortest.
        assert dist(away, green) > 0.9 * CLOSER * dist(close, green)


@pytest.mark.parametrize("kind", ["Relation", "Depth", "Distance"])
def test_the_careless_one_takes_the_first_of_two_options(kind: str) -> None:
    for question in questions(kind, 8):
        assert question.careless == question.options[0] and len(question.options) == 2


# Wrong at most: all 24 counts, and 12 of 24 of each other type, whose first option is right in 12.
@pytest.mark.parametrize(("carelessness", "low", "high"), [(0, 0, 0), (0.6, 24, 48), (1, 60, 60)])
def test_a_careless_annotator_is_wrong_as_often_as_told_about_the_same_pictures(
    carelessness: float, low: int, high: int, demo: Path, tmp_path: Path
) -> None:
    write(tmp_path, {"train": 96}, carelessness=carelessness)
    pairs = list(zip(rows(demo, "train"), rows(tmp_path, "train"), strict=True))
    assert low <= sum(right["answer"] != given["answer"] for right, given in pairs) <= high
    for right, given in pairs:
        assert right | {"answer": ""} == given | {"answer": ""}
        assert (demo / right["image"]).read_bytes() == (tmp_path / given["image"]).read_bytes()
