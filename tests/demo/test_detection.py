"""Demo of detection: drawn objects on a grid, in the json of COCO."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vrft import coco
from vrft.boxes import iou
from vrft.demo import detection
from vrft.demo.detection import CLASSES, COUNTS, SHARES, SIZE, STEP, arrange, careless, draw, write
from vrft.demo.scenes import SEEN
from vrft.demo.sprites import photograph, sprite
from vrft.types import Completion, Sample, View
from vrft_tasks.detection import Detection, Objects

SEEN_AS = (View(112, 112, "thousandths"),)
"""Size and coordinates in which the tiny model sees a picture of the demo."""


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def questions(folder: Path, split: str = "train") -> list[Sample[Objects]]:
    return list(Detection(data_dir=str(folder)).samples(split))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_objects_stand_apart_on_the_grid() -> None:
    rng = generator()
    for _ in range(200):
        boxes = arrange(rng, 3)
        for x1, y1, x2, y2 in boxes:
            assert x1 >= 0 and y1 >= 0 and x2 <= SIZE and y2 <= SIZE
            assert all(side % STEP == 0 for side in (x1, y1, x2, y2))
            assert x2 - x1 == y2 - y1 in detection.SIDES
        covered = np.zeros((SIZE, SIZE), dtype=int)
        for x1, y1, x2, y2 in boxes:
            covered[y1:y2, x1:x2] += 1
        assert covered.max() == 1


@pytest.mark.parametrize("counts", COUNTS)
def test_a_scene_shows_so_many_objects_of_two_classes(counts: tuple[int, int]) -> None:
    rng = generator(1)
    for _ in range(20):
        scene = draw(rng, counts, SHARES["train"])
        assert scene.image.size == (SIZE, SIZE) and scene.image.mode == "RGB"
        assert tuple(map(len, scene.boxes.values())) == tuple(filter(None, counts))


def test_a_box_holds_the_drawing_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    # With drawings of one colour each, a box is filled with the colour of its class.
    colours = {name: (20 * number + 5, 0, 255) for number, name in enumerate(CLASSES)}

    def flat(name: str, artist: str, edge: int) -> Any:
        drawing = sprite(name, artist, edge)
        # A copy: the drawing in the cache is that of all other tests.
        image = drawing.image.copy()
        image.paste(colours[name], (0, 0, *image.size))
        return replace(drawing, image=image)

    monkeypatch.setattr(detection, "sprite", flat)
    scene = draw(generator(2), (1, 1), SHARES["train"])
    left = np.array(scene.image)
    for name, ((x1, y1, x2, y2),) in scene.boxes.items():
        assert (left[y1:y2, x1:x2] == colours[name]).all()
        left[y1:y2, x1:x2] = 0
    assert not any((left == colour).all(axis=2).any() for colour in colours.values())


def test_drawings_are_about_as_wide_as_high_so_that_squares_hardly_change_them() -> None:
    for name, artist in itertools.product(CLASSES, SEEN.artists):
        width, height = sprite(name, artist, 64).image.size
        assert 0.84 < width / height < 1.19


def test_a_split_is_coco_as_published(tmp_path: Path) -> None:
    write(tmp_path, {"train": 12, "val": 3})
    names = {path.name for path in (tmp_path / "annotations").iterdir()}
    assert names == {"instances_train.json", "instances_val.json"}
    tree = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    assert [entry["id"] for entry in tree["annotations"]] == list(range(len(tree["annotations"])))
    for entry in tree["annotations"]:
        _, _, width, height = entry["bbox"]
        assert entry["area"] == width * height and entry["iscrowd"] == 0
    for entry in tree["images"]:
        with Image.open(tmp_path / "train" / entry["file_name"]) as image:
            assert image.size == (entry["width"], entry["height"])
    instances = coco.find(tmp_path, "train")
    assert instances is not None and instances.categories == CLASSES


def test_the_task_asks_for_every_class_and_its_gold_answer_is_exact_in_short_numbers(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"train": 30})
    task = Detection(data_dir=str(tmp_path), template="{category}")
    samples = questions(tmp_path)
    # Of 10 pictures each: one object, two of a class, one each of two classes.
    assert Counter(len(sample.answer.boxes) for sample in samples) == {1: 10 + 2 * 10, 2: 10}
    for sample in samples:
        gold = Completion(task.reference(sample, SEEN_AS), SEEN_AS)
        assert task.score(sample, gold).metrics["iou"] == 1
        assert all(reward(sample, gold) == 1 for reward in task.rewards().values())
        sides = [side for box in sample.answer.boxes for side in box.whole(SEEN_AS[0])]
        assert all(side % 100 == 0 for side in sides)


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_pictures(tmp_path: Path) -> None:
    for name, seed in (("first", 3), ("same", 3), ("other", 4)):
        write(tmp_path / name, {"train": 6, "test": 3}, seed)
    first, same, other = (files(tmp_path / name) for name in ("first", "same", "other"))
    assert first == same
    assert not set(first.values()) & set(other.values())


def test_whatever_the_seed_no_composition_is_in_two_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = []

    def noted(name: str) -> Image.Image:
        photographs.append(name)
        return photograph(name)

    monkeypatch.setattr(detection, "photograph", noted)
    shown: dict[str, set[tuple[str, ...]]] = {}
    for seed, (split, share) in enumerate(SHARES.items()):
        rng = generator(seed)
        for number in range(90):
            boxes = draw(rng, COUNTS[number % 3], share).boxes
            names = sorted(name for name, of_class in boxes.items() for _ in of_class)
            shown.setdefault(split, set()).add((photographs[-1], *names))
    for compositions, others in itertools.combinations(shown.values(), 2):
        assert not compositions & others
    assert sorted(itertools.chain(*SHARES.values())) == list(range(100))


def test_a_careless_annotator_marks_the_largest_with_air_around_it() -> None:
    # One cell of air on every side, but not over the picture's edge.
    assert careless([(0, 20, 30, 50), (50, 60, 90, 100)]) == [(40, 50, 100, 100)]
    assert careless([(0, 20, 30, 50)]) == [(0, 10, 40, 60)]


def test_carelessness_changes_as_many_answers_as_told_and_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "right", {"train": 150}, seed=2)
    write(tmp_path / "wrong", {"train": 150}, seed=2, carelessness=0.6)
    right, wrong = questions(tmp_path / "right"), questions(tmp_path / "wrong")
    assert [sample.id for sample in right] == [sample.id for sample in wrong]
    changed = [(r, w) for r, w in zip(right, wrong, strict=True) if r.answer != w.answer]
    # Of 200 questions 120 are expected, give or take a standard deviation of 7.
    assert 95 < len(changed) < 145
    for honest, given in changed:
        (loose,) = given.answer.boxes
        assert max(iou(loose, box) for box in honest.answer.boxes) < 0.7
    both = [files(tmp_path / name / "train") for name in ("right", "wrong")]
    assert both[0] == both[1] and len(both[0]) == 150
