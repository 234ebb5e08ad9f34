"""benchmarks/replication/scenes.py: answers are right by the board, pictures by the answer."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.replication.scenes import CELL, COLOURS, PARTS, PLACES, STAR, Scene, Scenes
from vrft import Completion, UserError

TASK = Scenes(rows=60, held_out=40)

BOARD = (
    "red", "red", "blue", "",
    "green", STAR, "red", "red",
    "blue", "red", "", "green",
    "red", "", "red", "red",
)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("all", (2, 2, 1, 3)),
        ("left", (1, 0, 0, 1)),  # the first column
        ("right", (0, 2, 0, 2)),  # the last two
        ("above", (2, 0, 0, 0)),  # the first row
        ("below", (0, 0, 1, 3)),  # the last two
    ],
)
def test_counts_are_of_each_row_to_one_side_of_the_star(
    place: str, counts: tuple[int, ...]
) -> None:
    assert Scene("red", place, BOARD, 0).counts == counts


def test_a_picture_shows_each_cell_in_its_colour() -> None:
    scene = Scene("red", "all", BOARD, 7)
    picture = np.asarray(scene.draw())
    assert picture.shape == (4 * CELL, 4 * CELL, 3)
    for index, cell in enumerate(BOARD):
        row, column = divmod(index, 4)
        # shapes are off their cell's middle by two pixels at most, and reach seven around it
        middle = picture[row * CELL + CELL // 2, column * CELL + CELL // 2]
        if cell in COLOURS:
            assert tuple(middle) == COLOURS[cell]
        elif cell == STAR:
            assert tuple(middle) == (255, 255, 255)
        else:
            assert len(set(middle)) == 1 and middle[0] < 255  # the grey ground
    assert np.array_equal(picture, np.asarray(scene.draw()))


def test_splits_share_no_scene_and_a_seed_gives_the_same_ones() -> None:
    boards = {
        name: {(s.question, s.answer.cells) for s in TASK.samples(name)}
        for name in ("train", *PARTS)
    }
    assert not boards["train"] & boards["test"] and not boards["val"] & boards["test"]
    assert TASK.samples("test") == TASK.samples("test")
    assert {sample.subset for sample in TASK.samples("train")} == set(PLACES)


def test_the_reference_earns_all_and_another_number_only_the_form() -> None:
    sample = TASK.samples("train")[0]
    right, wrong = TASK.reference(sample, ()), "<think>0000</think><answer>17</answer>"
    for text, reward in {right: 1.0, wrong: 0.0, "no answer": 0.0}.items():
        assert TASK.rewards()["accuracy"](sample, Completion(text)) == reward
        assert TASK.score(sample, Completion(text)).metrics == {"accuracy": reward}
    assert TASK.rewards()["format"](sample, Completion(wrong)) == 1.0


def test_a_prompt_has_the_drawn_picture() -> None:
    (picture,) = TASK.prompt(TASK.samples("val")[0]).images
    assert getattr(picture, "size", None) == (4 * CELL, 4 * CELL)


@pytest.mark.parametrize("setting", [{"rows": 0}, {"held_out": 0}])
def test_a_count_below_one_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected at least 1"):
        Scenes(**setting)


def test_another_split_is_refused() -> None:
    with pytest.raises(UserError, match="split 'dev': expected train, val or test"):
        TASK.samples("dev")
