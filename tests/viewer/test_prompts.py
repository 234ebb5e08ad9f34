from pathlib import Path

from PIL import Image

from vrft.boxes import Box
from vrft.masks import Region
from vrft.types import Prompt, Turn
from vrft.viewer import prompts


def test_a_prompt_is_shown_turn_by_turn() -> None:
    prompt = Prompt("now", system="be brief", prefill="<think>", turns=(Turn("user", "first"),))
    assert [(part["role"], part["text"]) for part in prompts.prompt_parts(prompt)] == [
        ("system", "be brief"),
        ("user", "first"),
        ("user", "now"),
        ("assistant", "<think>"),
    ]


def test_a_raw_prompt_is_called_so() -> None:
    assert prompts.prompt_parts(Prompt("as it stands", raw=True))[0]["role"] == "raw"


def test_boxes_are_fractions_to_five_decimals() -> None:
    assert prompts.boxes_of([Box(0.1234567, 0, 1, 0.5)]) == [[0.12346, 0, 1, 0.5]]


def test_shapes_are_fractions_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 100 x 50, shown 50 x 100
    Image.new("RGB", (100, 50)).save(tmp_path / "a.jpg", exif=exif)
    region = Region(([(0, 0), (25, 0), (25, 50)],), ignored=([(50, 100), (0, 100), (0, 75)],))
    picture = tmp_path / "a.jpg"
    assert prompts.shapes_of(region, picture) == {
        "true": [[[0, 0], [0.5, 0], [0.5, 0.5]]],
        "ignored": [[[1, 1], [0, 1], [0, 0.75]]],
    }
    assert prompts.shapes_of(None, picture) == prompts.shapes_of(region, None) == {}
    assert prompts.shapes_of(region, tmp_path / "gone.jpg") == {}
