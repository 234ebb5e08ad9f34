"""Conversations: turns, and the places of the pictures inside their messages."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.errors import UserError
from vrft.formats.dialogue import Dialogue, dialogue
from vrft.records import Record
from vrft.types import Turn


def read(*messages: Any) -> Dialogue:
    return dialogue(Record({}, "rows.jsonl: line 3", 2), [*messages])


def test_parts_of_a_message_keep_the_places_of_their_pictures() -> None:
    content = [
        {"type": "text", "text": "Is "},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "text", "text": " like "},
        {"type": "image", "image": "b.png"},
        {"type": "text", "text": "?"},
    ]
    said = read({"role": "user", "content": content}, {"role": "assistant", "content": "A."})
    assert said.turns == [Turn("user", "Is <image> like <image>?"), Turn("assistant", "A.")]
    assert said.pictures == ["data:image/png;base64,AA", "b.png"]


def test_a_system_text_stands_at_the_start_alone() -> None:
    system = {"from": "system", "value": "S"}
    assert read(system, {"from": "human", "value": "Q?"}) == Dialogue("S", [Turn("user", "Q?")])
    with pytest.raises(UserError, match="line 3: message 1 is a system text behind the start"):
        read({"from": "human", "value": "Q?"}, system)
    with pytest.raises(UserError, match="message 0 is of the role 'tool'; system, user"):
        read({"role": "tool", "content": "3"})
