"""Cards by name and by size."""

from __future__ import annotations

import pytest

from vrft.errors import UserError
from vrft.step_plans import cards


@pytest.mark.parametrize(
    ("text", "memory", "names"),
    [
        ("H100", 80, ["H100"]),
        ("h100", 80, ["H100"]),
        ("RTX 4090", 24, ["4090"]),
        ("80GB", 80, ["H100", "A100"]),  # a size is every card that has it
        ("40 GiB", 40, ["A100-40GB"]),
        ("33GB", 33, []),  # a size that no card of the table has is still a size
    ],
)
def test_a_name_or_a_size_means_cards(text: str, memory: float, names: list[str]) -> None:
    size, meant = cards.read(text)
    assert (size, [card.name for card in meant]) == (memory, names)


@pytest.mark.parametrize("text", ["H1000", "0GB", "", "GB", "-24GB"])
def test_another_text_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(UserError, match="--gpu"):
        cards.read(text)


def test_a_card_keeps_room_for_cuda_and_for_fragments() -> None:
    # 24 GiB less 5 %, less 1 GiB: 21.8
    assert cards.CARDS["4090"].room == pytest.approx(21.8 * cards.GIB)
