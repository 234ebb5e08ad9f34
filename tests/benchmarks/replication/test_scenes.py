"""benchmarks/replication/scenes.py: answers are right by the key, pictures by the signs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.replication.scenes import (
    BLOCK,
    BLOCKS,
    CHARACTERS,
    EDGE,
    KEY,
    PARTS,
    PATTERNS,
    SIGNS,
    Scene,
    Scenes,
)
from vrft import Completion, UserError

TASK = Scenes(rows=60, held_out=40)
CELL = BLOCKS * BLOCK


def test_every_character_has_as_many_signs_as_the_others() -> None:
    assert sorted(KEY) == sorted(CHARACTERS * 2)


def test_signs_differ_and_are_symmetrical() -> None:
    assert len({pattern.tobytes() for pattern in PATTERNS}) == SIGNS
    assert np.array_equal(PATTERNS, PATTERNS[:, :, ::-1])


def test_a_picture_shows_each_sign_in_its_cell() -> None:
    scene = Scene((3, 14, 15, 9), 7)
    picture = np.asarray(scene.draw())
    assert picture.shape == (EDGE * CELL, EDGE * CELL, 3)
    for cell, sign in enumerate(scene.signs):
        row, column = divmod(cell, EDGE)
        part = picture[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        # Inks are below 90 in every colour, grounds above it: 170 less four deviations of noise.
        dark = part[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].max(axis=2) < 110
        assert np.array_equal(dark, PATTERNS[sign])
    assert np.array_equal(picture, np.asarray(scene.draw()))


def test_a_scene_is_read_row_by_row() -> None:
    assert Scene((5, 0, 2, 63), 0).text == KEY[5] + KEY[0] + KEY[2] + KEY[63]


def test_splits_share_no_board_and_a_seed_gives_the_same_ones() -> None:
    boards = {name: {s.answer.signs for s in TASK.samples(name)} for name in ("train", *PARTS)}
    assert not boards["train"] & boards["test"] and not boards["val"] & boards["test"]
    assert not boards["train"] & boards["val"]
    assert TASK.samples("test") == TASK.samples("test")


def test_the_reference_earns_all_and_a_wrong_character_nothing() -> None:
    sample = TASK.samples("train")[0]
    right = TASK.reference(sample, ())
    wrong = right.replace(sample.answer.text, sample.answer.text[:3] + "?")
    for text, reward in {right: 1.0, wrong: 0.0, "no answer": 0.0}.items():
        assert TASK.rewards()["accuracy"](sample, Completion(text)) == reward
        assert TASK.score(sample, Completion(text)).metrics == {"accuracy": reward}


def test_a_prompt_has_the_drawn_picture() -> None:
    (picture,) = TASK.prompt(TASK.samples("val")[0]).images
    assert getattr(picture, "size", None) == (EDGE * CELL, EDGE * CELL)


@pytest.mark.parametrize("setting", [{"rows": 0}, {"held_out": 0}])
def test_a_count_below_one_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected at least 1"):
        Scenes(**setting)


def test_another_split_is_refused() -> None:
    with pytest.raises(UserError, match="split 'dev': expected train, val or test"):
        TASK.samples("dev")
