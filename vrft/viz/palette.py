"""The one palette of boxes and lines: colours of Okabe and Ito, told apart by colour-blind eyes."""

from __future__ import annotations

TRUTH, PREDICTED, BEFORE = "#009e73", "#d55e00", "#56b4e9"
"""Green, orange and light blue."""

COLOURS = {"true": TRUTH, "answer": PREDICTED, "before": BEFORE, "after": PREDICTED}
"""The colour of a box by the name of its giver."""

LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8b949e")
"""The colours of lines beside each other, in this order."""

INK, FAINT, PAPER, TABLE = "#1f2328", "#59636e", "#ffffff", "#f6f8fa"

RAISED, LOWERED, SILENT, PALE = "#0072b2", "#d55e00", "#8b949e", "#c9d1d9"
"""An answer that is pushed up, one that is pushed down, one without signal; paler by less."""


def advantage_colour(advantage: float, largest: float) -> str:
    """Return the colour of an advantage: blue above zero, orange below, pale near it, grey at it.

    ``largest`` is the largest absolute advantage of the group.
    """
    share = min(1.0, abs(advantage) / largest) if largest > 0 else 0.0
    if share < 0.02:
        return SILENT
    strength = 0.3 + 0.7 * share
    parts = zip(channels(RAISED if advantage > 0 else LOWERED), channels(PALE), strict=True)
    return "#" + "".join(f"{round(pale + strength * (v - pale)):02x}" for v, pale in parts)


def channels(colour: str) -> list[int]:
    """Return red, green and blue of "#rrggbb", each from 0 to 255."""
    return list(bytes.fromhex(colour[1:]))
