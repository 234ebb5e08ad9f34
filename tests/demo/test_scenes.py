"""The demo's pictures, their outlines and their instructions."""

import copy
import itertools
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from vrft.demo import make_assets
from vrft.demo.grounding import draw
from vrft.demo.instructions import CATEGORIES, CLASSES, KINDS, USES, Kind, instructions
from vrft.demo.scenes import SEEN, UNSEEN, Scene, Style, compose, crop
from vrft.demo.sprites import ASSETS, outline, photograph, sprite


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bounds(points: list[list[int]]) -> tuple[int, int, int, int]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


# The shipped pictures


def test_every_artist_has_drawn_every_class_and_nothing_else() -> None:
    for artist in SEEN.artists + UNSEEN.artists:
        drawn = {path.stem for path in (ASSETS / "sprites" / artist).iterdir()}
        assert drawn == set(CLASSES)
    assert {path.name for path in (ASSETS / "sprites").iterdir()} == set(make_assets.PACKAGES)


def test_seen_and_unseen_styles_share_no_artist_and_no_background() -> None:
    shipped = {path.stem for path in (ASSETS / "backgrounds").iterdir()}
    assert not set(SEEN.artists) & set(UNSEEN.artists)
    assert not set(SEEN.backgrounds) & set(UNSEEN.backgrounds)
    assert set(SEEN.backgrounds) | set(UNSEEN.backgrounds) == shipped


def test_every_shipped_picture_has_its_source_and_licence_on_file() -> None:
    text = (ASSETS / "LICENSES.md").read_text(encoding="utf-8")
    for artist, package in make_assets.PACKAGES.items():
        name, _, version = package.rpartition("@")
        assert re.search(rf"`sprites/{artist}/`.*`{name}` {re.escape(version)}", text)
    for name, (source, _, _) in make_assets.BACKGROUNDS.items():
        assert re.search(rf"`{name}.jpg` \| `{source}` .*(CC0|public domain)", text)
    assert ", ".join(CLASSES) in " ".join(text.split())


def test_the_shipped_pictures_stay_below_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 2_000_000


# Sprites and scenes


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # One pixel: its four corners.
        (["#"], {(0, 0), (1, 0), (1, 1), (0, 1)}),
        # A diagonal: the two inner corners are not on the hull's edge.
        (["#.", ".#"], {(0, 0), (1, 0), (2, 1), (2, 2), (1, 2), (0, 1)}),
        # A hole and a dent do not show in a hull.
        (["###", "#..", "###"], {(0, 0), (3, 0), (3, 3), (0, 3)}),
    ],
)
def test_an_outline_is_the_hull_of_the_pixels_corners(
    rows: list[str], expected: set[tuple[int, int]]
) -> None:
    points = outline(np.array([[cell == "#" for cell in row] for row in rows]))
    assert set(points) == expected
    assert len(points) == len(expected)


def test_an_outline_runs_clockwise_on_the_screen() -> None:
    points = sprite("owl", "noto", 40).polygon
    following = (*points[1:], points[0])
    # The shoelace formula; with y pointing down, clockwise is positive.
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, following, strict=True)) / 2
    assert 20 * 20 < area <= 40 * 40


@pytest.mark.parametrize("artist", SEEN.artists + UNSEEN.artists)
def test_a_sprite_is_cut_to_its_opaque_pixels(artist: str) -> None:
    for name in CLASSES:
        for edge in (28, 45):
            made = sprite(name, artist, edge)
            opaque = np.asarray(made.image.getchannel("A")) >= 128
            assert opaque[0].any() and opaque[-1].any()
            assert opaque[:, 0].any() and opaque[:, -1].any()
            assert edge - 2 <= max(made.image.size) <= edge
            assert bounds([list(p) for p in made.polygon]) == (0, 0, *made.image.size)
            assert made.area == opaque.sum()


@pytest.mark.parametrize("size", [(112, 112), (168, 112), (56, 84), (336, 252)])
def test_objects_lie_apart_within_the_picture_and_differ_in_class(size: tuple[int, int]) -> None:
    rng, style = generator(), Style(size=size)
    for _ in range(50):
        scene = compose(rng, style)
        assert scene.image.size == size and scene.image.mode == "RGB"
        assert 2 <= len(scene.objects) <= 4
        assert len({thing.name for thing in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
            assert 0.22 * min(size) <= max(x2 - x1, y2 - y1) <= 0.5 * min(size)
            assert bounds([list(p) for p in thing.polygon]) == thing.box
        for one, other in itertools.combinations(scene.objects, 2):
            (a1, b1, a2, b2), (c1, d1, c2, d2) = one.box, other.box
            assert min(a2, c2) <= max(a1, c1) or min(b2, d2) <= max(b1, d1)


def test_a_picture_differs_from_its_background_inside_the_boxes_only() -> None:
    rng = generator(3)
    for _ in range(20):
        same = copy.deepcopy(rng)
        scene = compose(rng)
        name = str(same.choice(SEEN.backgrounds))
        empty = crop(same, photograph(name), SEEN.size)
        changed = (np.asarray(scene.image) != np.asarray(empty)).any(axis=2)
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            # An opaque pixel may have its background's colour by chance, half of them may not.
            assert changed[y1:y2, x1:x2].sum() > thing.salience / 2
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


def test_the_most_salient_object_has_the_most_opaque_pixels() -> None:
    scene = compose(generator(5), Style(count=(4, 4)))
    sizes = [thing.salience for thing in scene.objects]
    assert sizes[scene.most_salient] == max(sizes) > min(sizes)


# Instructions


@dataclass(frozen=True)
class Block:
    """An object of a made-up scene."""

    name: str
    box: tuple[int, int, int, int]


def asked(first: str, *others: str) -> set[str]:
    """The instructions for the first of some objects that stand in a column, 20 px apart."""
    column = [Block(name, (0, 20 * i, 10, 20 * i + 10)) for i, name in enumerate((first, *others))]
    return {instruction.text for instruction in instructions(column, 0)}


def test_an_object_is_asked_for_by_name_place_and_use() -> None:
    assert asked("key", "pig") == {
        "Find the key.",
        "Where is the key?",
        "What is above the pig?",
        "Which one opens a lock?",
    }


@pytest.mark.parametrize(
    ("others", "text", "given"),
    [
        # One animal.
        (("key",), "Find the animal.", True),
        # Two animals.
        (("pig",), "Find the animal.", False),
        # A plane flies as well.
        (("plane",), "Which one can fly?", False),
        # A penguin has wings: one might argue, so it is not asked.
        (("penguin",), "Which one can fly?", False),
        (("turtle",), "Which one can fly?", True),
        # Both birds are above the key, but only one of the two is asked about "above the duck".
        (("duck", "key"), "Find the bird above the key.", False),
        (("duck", "key"), "Find the bird above the duck.", True),
        # Without a category the frog in between would be an answer too.
        (("frog", "key"), "What is above the key?", False),
        (("banana", "key"), "Find the animal above the key.", True),
    ],
)
def test_only_what_singles_the_owl_out_is_asked(
    others: tuple[str, ...], text: str, given: bool
) -> None:
    assert (text in asked("owl", *others)) is given


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((0, 40, 10, 50), "to the left of"),
        ((90, 40, 99, 50), "to the right of"),
        ((40, 0, 50, 10), "above"),
        ((40, 90, 50, 99), "below"),
        # More below than to the left: 20 px left, 40 px down.
        ((20, 80, 30, 90), "below"),
        # It touches the key's columns and its rows: no side at all.
        ((35, 35, 45, 45), None),
        # More above than to the left (24 px, 18 px), but it reaches below the key's upper edge.
        ((22, 0, 32, 42), None),
    ],
)
def test_a_side_is_named_only_where_it_is_plain(
    box: tuple[int, int, int, int], side: str | None
) -> None:
    objects = [Block("pig", box), Block("key", (40, 40, 50, 50))]
    texts = [i.text for i in instructions(objects, 0) if i.text.startswith("What is")]
    assert texts == ([f"What is {side} the key?"] if side else [])


def test_one_slightly_to_the_left_spoils_the_question_for_another_further_left() -> None:
    key, pig = Block("key", (40, 40, 50, 50)), Block("pig", (0, 40, 10, 50))
    below = Block("guitar", (38, 80, 48, 90))
    assert "What is to the left of the key?" in {i.text for i in instructions([pig, key], 0)}
    texts = {i.text for i in instructions([pig, key, below], 0)}
    assert "What is to the left of the key?" not in texts
    assert "Find the animal to the left of the key." in texts


def test_of_two_objects_of_one_class_none_is_asked_for_by_name() -> None:
    assert not asked("owl", "owl") & {"Find the owl.", "Where is the owl?"}


TEMPLATES = {
    r"(?:Find|Where is) the (?P<name>\w+)[.?]": "class",
    r"What is (?P<side>[a-z ]+?) the (?P<reference>\w+)\?": "relation",
    r"Find the (?P<noun>\w+) (?P<side>[a-z ]+?) the (?P<reference>\w+)\.": "relation",
    r"Find the (?P<noun>\w+)\.": "use",
    r"Which one (?P<use>[a-z ]+)\?": "use",
}


def answers(scene: Scene, text: str, kind: str) -> list[int]:
    """The objects that a reader of the text alone could point at, read as generously as can be."""
    (match,) = [m for t, k in TEMPLATES.items() if k == kind and (m := re.fullmatch(t, text))]
    wanted = match.groupdict()
    found = []
    for index, thing in enumerate(scene.objects):
        if wanted.get("name", thing.name) != thing.name:
            continue
        for table, key in ((CATEGORIES, wanted.get("noun")), (USES, wanted.get("use"))):
            if key and thing.name not in table[key].fits | table[key].arguable:
                break
        else:
            if "side" in wanted:
                (other,) = [o for o in scene.objects if o.name == wanted["reference"]]
                x, y = (thing.box[i] + thing.box[i + 2] for i in (0, 1))
                there_x, there_y = (other.box[i] + other.box[i + 2] for i in (0, 1))
                near = {"to the left of": x < there_x, "to the right of": x > there_x}
                near |= {"above": y < there_y, "below": y > there_y}
                if thing is other or not near[wanted["side"]]:
                    continue
            found.append(index)
    return found


@pytest.mark.parametrize("style", [SEEN, UNSEEN], ids=["seen", "unseen"])
def test_every_instruction_has_exactly_one_answer_in_its_scene(style: Style) -> None:
    rng, kinds = generator(1), Counter[str]()
    for _ in range(300):
        scene = compose(rng, style)
        for index in range(len(scene.objects)):
            for instruction in instructions(scene.objects, index):
                assert answers(scene, instruction.text, instruction.kind) == [index], instruction
                kinds[instruction.kind] += 1
    assert min(kinds[kind] for kind in KINDS) > 300


def test_the_tables_speak_of_known_classes_and_no_class_both_fits_and_is_arguable() -> None:
    for description in (*CATEGORIES.values(), *USES.values()):
        assert description.fits and description.fits | description.arguable <= set(CLASSES)
        assert not description.fits & description.arguable


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_example_asks_for_one_object_in_different_words(kind: Kind) -> None:
    rng = generator(7)
    for _ in range(30):
        example = draw(rng, kind, most=2)
        texts = [instruction.text for instruction in example.instructions]
        assert 1 <= len(set(texts)) == len(texts) <= 2
        for instruction in example.instructions:
            assert instruction.kind == kind
            assert answers(example.scene, instruction.text, kind) == [example.asked]
