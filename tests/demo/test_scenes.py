"""Scenes: objects apart from each other on a photograph, and the split that may show them."""

import copy
import itertools

import numpy as np
import pytest

from vrft.demo.scenes import (
    SEEN,
    UNSEEN,
    Canvas,
    Corners,
    Scene,
    SceneObject,
    Style,
    compose,
    crop,
    overlap,
    split_of,
)
from vrft.demo.sprites import photograph


def test_seen_and_unseen_styles_share_no_artist_and_no_background() -> None:
    assert not set(SEEN.artists) & set(UNSEEN.artists)
    assert not set(SEEN.backgrounds) & set(UNSEEN.backgrounds)


@pytest.mark.parametrize("size", [(112, 112), (168, 112), (56, 84), (336, 252)])
def test_objects_lie_apart_within_the_picture_and_differ_in_class(size: tuple[int, int]) -> None:
    rng, style = np.random.default_rng(0), Style(size=size)
    for _ in range(50):
        scene = compose(rng, style)
        assert scene.image.size == size and scene.image.mode == "RGB"
        assert 2 <= len(scene.objects) <= 4
        assert len({shown.name for shown in scene.objects}) == len(scene.objects)
        for shown in scene.objects:
            x1, y1, x2, y2 = shown.box
            assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
            assert 0.22 * min(size) <= max(x2 - x1, y2 - y1) <= 0.5 * min(size)
            xs, ys = zip(*shown.polygon, strict=True)
            assert (min(xs), min(ys), max(xs), max(ys)) == shown.box
        for shown, other in itertools.combinations(scene.objects, 2):
            (a1, b1, a2, b2), (c1, d1, c2, d2) = shown.box, other.box
            assert min(a2, c2) <= max(a1, c1) or min(b2, d2) <= max(b1, d1)


def test_a_picture_differs_from_its_background_inside_the_boxes_only() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        same = copy.deepcopy(rng)
        scene = compose(rng)
        name = str(same.choice(SEEN.backgrounds))
        empty = crop(same, photograph(name), SEEN.size).image
        changed = (np.asarray(scene.image) != np.asarray(empty)).any(axis=2)
        for shown in scene.objects:
            x1, y1, x2, y2 = shown.box
            # An opaque pixel may have its background's colour by chance, half of them may not.
            assert changed[y1:y2, x1:x2].sum() > shown.salience / 2
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


def test_the_most_salient_object_has_the_most_opaque_pixels() -> None:
    scene = compose(np.random.default_rng(5), Style(count=(4, 4)))
    sizes = [shown.salience for shown in scene.objects]
    assert sizes[scene.most_salient] == max(sizes) > min(sizes)


@pytest.mark.parametrize(
    ("box", "gap", "expected"),
    [
        # One pixel in common, at the corner (9, 9).
        ((9, 9, 20, 20), 0, True),
        # Edge to edge: x2 = 10 is exclusive, so that no pixel is shared.
        ((10, 0, 20, 10), 0, False),
        # Three pixels apart on the x axis alone: frames of two pixels each need four.
        ((13, 0, 20, 10), 4, True),
        ((14, 0, 20, 10), 4, False),
        # Near on one axis, far on the other.
        ((0, 50, 10, 60), 4, False),
    ],
)
def test_boxes_overlap_where_both_axes_do(box: Corners, gap: int, expected: bool) -> None:
    square = (0, 0, 10, 10)
    assert overlap(square, box, gap) is overlap(box, square, gap) is expected


def test_a_composition_names_the_background_and_the_classes_from_left_to_right() -> None:
    canvas = Canvas(photograph("grass"), (0, 0, 112, 112), (112, 112))
    # The owl begins further left, but its centre, 50, is right of the key's, 45.
    owl = SceneObject("owl", (10, 0, 90, 80), (), 1)
    key = SceneObject("key", (40, 85, 50, 95), (), 1)
    scene = Scene(canvas, "grass", (owl, key))
    assert scene.composition == ("grass", "key", "owl")
    # The crc32 of "grass key owl" ends in 1, which belongs to test.
    assert split_of(scene) == "test"
