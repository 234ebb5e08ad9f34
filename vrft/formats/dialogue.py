"""Conversations in the forms of OpenAI, ShareGPT, LLaVA and others: turns and their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vrft.records.nested import shown
from vrft.records.record import Record
from vrft.types import PLACE, Turn

ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    **{"system": "system", "developer": "system"},
    **{"user": "user", "human": "user"},
    **{"assistant": "assistant", "gpt": "assistant"},
}


@dataclass(slots=True)
class Dialogue:
    """A conversation as it is read: system text, turns, and the pictures inside its messages."""

    system: str | None = None
    turns: list[Turn] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)


def dialogue(record: Record, messages: Any) -> Dialogue:
    """Read a list of messages, {"role", "content"} or {"from", "value"}.

    Raises UserError for a role other than system, user and assistant, for a system text behind
    the start, and for contents that are neither text nor pictures.
    """
    if not isinstance(messages, list) or not messages:
        raise record.error(f"expected a list of messages, got {shown(messages)}")
    read = Dialogue()
    for number, message in enumerate(messages):
        match message:
            case {"role": str(speaker), "content": content}:
                pass
            case {"from": str(speaker), "value": content}:
                pass
            case _:
                raise record.error(f"message {number} has no role and content: {shown(message)}")
        role = ROLES.get(speaker)
        text = content_text(record, content, read.pictures, f"message {number}")
        if role == "system" and number == 0:
            read.system = text
        elif role in ("user", "assistant"):
            read.turns.append(Turn(role, text))
        else:
            what = "a system text behind the start" if role else f"of the role {speaker!r}"
            raise record.error(f"message {number} is {what}; system, user, assistant are read")
    return read


def content_text(record: Record, content: Any, pictures: list[Any], where: str) -> str:
    """Return the text of a message with its pictures' places; add pictures inside to the list."""
    texts = []
    for part in content if isinstance(content, list) else [content]:
        match part:
            case str(text) | {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(picture)} | str(picture)}:
                texts.append(PLACE)
                pictures.append(picture)
            case {"type": "image", **rest}:
                texts.append(PLACE)
                # Without a picture of its own, the part is the place of one in `images`.
                pictures += [v for key in ("image", "path", "url") if (v := rest.get(key))][:1]
            case _:
                raise record.error(f"{where} holds neither text nor picture: {shown(part)}")
    return "".join(texts).strip()
