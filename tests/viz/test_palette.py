"""One palette: pictures of Python have the colours of the viewer."""

import re

import pytest
from fakes.folders import ROOT

from vrft.viz import palette

APP = ROOT / "vrft" / "viewer" / "app"


def test_boxes_and_lines_have_the_viewers_colours() -> None:
    style = (APP / "style.css").read_text(encoding="utf-8")
    named = dict(re.findall(r"--(true|given|before): (#[0-9a-f]{6});", style))
    assert named == {"true": palette.TRUTH, "given": palette.PREDICTED, "before": palette.BEFORE}
    (lines,) = re.findall(r"vrft\.PALETTE = \[(.*)\];", (APP / "curves.js").read_text("utf-8"))
    assert tuple(re.findall(r"#[0-9a-f]{6}", lines)) == palette.LINES


def test_advantages_have_the_viewers_colours() -> None:
    code = (APP / "picture.js").read_text(encoding="utf-8")
    body = code[code.index("vrft.advantageRGB = ") :]
    rows = re.findall(r"\[(\d+), (\d+), (\d+)\]", body[: body.index("\n};")])
    found = ["#" + "".join(f"{int(value):02x}" for value in row) for row in rows]
    assert found == [palette.SILENT, palette.RAISED, palette.LOWERED, palette.PALE]
    assert "(0.3 + 0.7 * share) * (value - pale)" in body


@pytest.mark.parametrize(
    ("advantage", "largest", "colour"),
    [
        (1.0, 1.0, palette.RAISED),
        (-2.0, 2.0, palette.LOWERED),
        (0.0, 1.0, palette.SILENT),
        (0.0, 0.0, palette.SILENT),  # a group without signal
        # half of the largest: 65 parts of #0072b2 and 35 of #c9d1d9,
        # 0.65 * 0 + 0.35 * 201 = 70.35, 0.65 * 114 + 0.35 * 209 = 147.25,
        # 0.65 * 178 + 0.35 * 217 = 191.65
        (0.5, 1.0, "#4693c0"),
    ],
)
def test_an_advantage_is_paler_the_smaller_it_is(
    advantage: float, largest: float, colour: str
) -> None:
    assert palette.advantage_colour(advantage, largest) == colour
