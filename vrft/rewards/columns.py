"""The columns and prompts that a reward function is given of a sample, as TRL gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from vrft.images import open_image
from vrft.records.nested import with_messages
from vrft.types import PLACE, Prompt, Sample

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Pictures:
    """The pictures of a sample as the value of a column, which is read where it is needed.

    The value is a list of Pillow's pictures, or the picture itself if ``single``.
    """

    sources: tuple[Path | Image.Image, ...]
    single: bool = False

    def read(self) -> Any:
        """Open the pictures, as RGB and upright; raise UserError that names one that cannot be."""
        pictures = [open_image(source) for source in self.sources]
        return pictures[0] if self.single else pictures


@dataclass(frozen=True)
class PictureColumn(Sequence[Any]):
    """The column ``images`` or ``image`` of a group: its G values are opened when one is taken.

    As the group shares its prompt, all values are the same pictures.
    """

    pictures: Pictures
    size: int

    # No slots: a cached property needs the dictionary.
    @cached_property
    def values(self) -> list[Any]:
        """Return the G values."""
        return [self.pictures.read()] * self.size

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        """Return one value, or several."""
        return self.values[place]


def columns_of(sample: Sample[Any]) -> Mapping[str, Any]:
    """Return the columns that a reward function gets: the row's own, and those of the sample.

    The latter, where the row has no column of that name, are question, answer, solution (the
    answer, as TRL's functions call it), sample_id and subset. The column images holds the sample's
    Pictures, and image, for a sample with one picture, that one, however the row gives them.
    """
    own = sample.columns
    columns = {
        "question": sample.question,
        "answer": sample.answer,
        "solution": own.get("answer", sample.answer),
        "sample_id": sample.id,
        "subset": sample.subset,
        **own,
        "images": Pictures(sample.images),
    }
    if len(sample.images) == 1:
        columns["image"] = Pictures(sample.images, single=True)
    return columns


def in_texts(sample: Sample[Any]) -> bool:
    """Return whether TRL would give prompts and completions of a row as texts, not as messages.

    It does where the row's own column ``prompt`` is a text; a CSV's may hold messages as JSON.
    """
    return isinstance(with_messages(sample.columns.get("prompt")), str)


def column(value: Any, size: int, *, named: bool) -> Sequence[Any]:
    """Return a value once for each of ``size`` completions.

    Pictures are opened for a function that has ``named`` them, else when it takes one.
    """
    if not isinstance(value, Pictures):
        return [value] * size
    pictures = PictureColumn(value, size)
    return pictures.values if named else pictures


def raw_prompt(prompt: Prompt) -> str:
    """Return a prompt as the text that a base model continues, without pictures."""
    turns = "".join(turn.text for turn in prompt.turns)
    return (prompt.system or "") + turns + prompt.text + prompt.prefill


def chat(prompt: Prompt) -> list[dict[str, Any]]:
    """Return a prompt as TRL's messages: with pictures, the content is a list of parts."""
    turns = [(turn.role, turn.text) for turn in prompt.turns] + [("user", prompt.text)]
    if prompt.images and not any(PLACE in text for _, text in turns):
        turns[-1] = ("user", PLACE * len(prompt.images) + prompt.text)
    images = iter(prompt.images)
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    if not prompt.images:
        return [*system, *({"role": role, "content": text} for role, text in turns)]
    messages: list[dict[str, Any]] = list(system)
    for role, text in turns:
        parts: list[dict[str, Any]] = []
        for number, piece in enumerate(text.split(PLACE)):
            if number:
                parts.append({"type": "image", "image": next(images, None)})
            if piece:
                parts.append({"type": "text", "text": piece})
        messages.append({"role": role, "content": parts})
    return messages
