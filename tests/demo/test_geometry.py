"""Demo of geoqa: figures that are true to scale, and the rows written from them."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vrft.demo import geometry
from vrft.demo.geometry import ANGLES, FIGURE_KINDS, Figure, render, sample_figure, write
from vrft.images import image_size
from vrft.types import Completion
from vrft_tasks.geoqa import GeoQa


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("kind", "answer", "mistake"),
    [
        ("supplement", 140, 50),
        ("complement", 50, 140),
        ("vertical", 40, 40),
        # Two base angles of 40 degrees leave 100; one leaves 140.
        ("isosceles", 100, 140),
        ("central", 80, 40),
    ],
)
def test_the_rules_for_an_angle_of_40_degrees(kind: str, answer: int, mistake: int) -> None:
    assert FIGURE_KINDS[kind].answer(40) == answer
    assert FIGURE_KINDS[kind].mistake(40) == mistake


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_figures_are_true_to_scale(kind: str) -> None:
    for angle in ANGLES:
        drawing = FIGURE_KINDS[kind].draw(angle)
        first, second = drawing.angles
        assert first.end - first.start == pytest.approx(angle)
        assert second.end - second.start == pytest.approx(FIGURE_KINDS[kind].answer(angle))
        # Both sides of both angles run along lines of the figure.
        segments = [pair for line in drawing.lines for pair in pairwise(line)]
        for marked in (first, second):
            for direction in (marked.start, marked.end):
                tip = geometry.polar(direction, 0.3, marked.corner)
                assert any(lies_on(tip, segment) for segment in segments), (kind, angle)


def lies_on(point: geometry.Point, segment: tuple[geometry.Point, geometry.Point]) -> bool:
    """Return whether the ways from a point to both ends together are as long as the segment."""
    (x, y), (x1, y1), (x2, y2) = point, *segment
    ways = np.hypot(x - x1, y - y1) + np.hypot(x - x2, y - y2)
    return bool(np.isclose(ways, np.hypot(x2 - x1, y2 - y1)))


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_a_drawing_leaves_the_edges_of_the_picture_free(kind: str) -> None:
    rng = np.random.default_rng(0)
    for angle in (ANGLES[0], ANGLES[-1]):
        for turn in (-geometry.STEEPEST, 0, geometry.STEEPEST):
            image = render(rng, Figure(kind, angle, turn, mirrored=turn > 0))
            pixels = np.asarray(image)
            assert image.mode == "RGB" and pixels.shape == (geometry.SIDE, geometry.SIDE, 3)
            edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert len(np.unique(edge, axis=0)) == 1, (kind, angle, turn)
            assert (pixels != edge[0]).any(axis=2).sum() > 150


def test_figures_are_evenly_spread_and_belong_to_one_split() -> None:
    drawn = {}
    for split in geometry.SPLITS:
        rng = np.random.default_rng(0)
        drawn[split] = [sample_figure(rng, split) for _ in range(1000)]
        assert all(figure.split == split for figure in drawn[split])
        # 200 expected of each kind, with a standard deviation of 13; 100 of each angle, 9.5.
        assert min(Counter(figure.kind for figure in drawn[split]).values()) > 150
        assert min(Counter(figure.angle for figure in drawn[split]).values()) > 65
    train, val, test = (set(drawn[split]) for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test


def test_the_same_seed_writes_the_same_bytes_and_no_picture_twice(tmp_path: Path) -> None:
    splits = {"train": 60, "val": 10, "test": 30}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / name, splits, seed=seed, carelessness=0.5)
    first, same, other = (
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in "abc"
    )
    assert first == same and len(first) == len(other) == 103
    assert len(set(first + other)) == 2 * 103
    assert sum(map(len, first)) < 60 * 103 * 100


def test_the_task_reads_every_row_and_its_reference_earns_full_marks(tmp_path: Path) -> None:
    write(tmp_path, {"test": 40})
    task = GeoQa(data_dir=str(tmp_path))
    samples = task.samples("test")
    assert len(samples) == 40 and len({sample.answer.text for sample in samples}) > 10
    for sample in samples:
        assert image_size(sample.images[0]) == (geometry.SIDE, geometry.SIDE)
        assert sample.answer.quantity is not None and sample.answer.quantity.unit == "°"
        completion = Completion(task.reference(sample, ()), ())
        assert task.score(sample, completion).metrics["accuracy"] == 1.0
        assert {reward(sample, completion) for reward in task.rewards().values()} == {1.0}


def test_the_careless_pupil_differs_in_answers_alone(tmp_path: Path) -> None:
    write(tmp_path / "honest", {"train": 300})
    write(tmp_path / "careless", {"train": 300}, carelessness=1.0)
    wrong = 0
    for right, given in zip(
        rows(tmp_path / "honest", "train"), rows(tmp_path / "careless", "train"), strict=True
    ):
        assert right["problem"] == given["problem"] and right["image"] == given["image"]
        wrong += right["solution"] != given["solution"]
    # All kinds but the vertical angles, which are a fifth: 240 with a standard deviation of 7.
    assert 210 < wrong < 270
    picture = "train/00000.png"
    honest, careless = ((tmp_path / n / picture).read_bytes() for n in ("honest", "careless"))
    assert honest == careless
