"""The pictures of a row: the column in which they stand, and columns that no format reads.

A row whose pictures are not read looks like a question without any, and a run on such rows would
learn to guess.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from vrft.errors import UserError
from vrft.images.sources import HUB_KEYS, URL
from vrft.records.nested import flattened, listed
from vrft.records.picture_cache import HEADS
from vrft.records.picture_files import SUFFIXES
from vrft.records.record import Record, is_null
from vrft.types import PLACE

BASE64_HEADS = ("data:image/", "/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""How the text of a picture begins: a data URI, or a JPEG, PNG, GIF or WebP file in base64."""

TEXTS = frozenset({
    *("id", "idx", "question", "problem", "prompt", "system", "turns", "messages"),
    *("conversations", "answer", "solution", "reward_model", "options", "choices", "subset"),
})  # fmt: skip
"""Columns that are read already, or that name a row: an id is often the name of a picture."""

PICTURE_NAME = re.compile(
    r"(?:image|img|picture|photo)[_ ]?(?:id|idx|index|name|file|file_?name|path|src|ur[il]|link)"
    r"|(?:img|picture|photo)s?|(?:coco|flickr)_url",
    re.IGNORECASE,
)
"""Names of columns that tell of which picture a row is, without a path that ends as one."""

ASKED = ("problem", "question", "prompt")
"""Columns of the question, in the order in which ``--task math`` reads them."""

MEDIA = ("video", "videos", "audio", "audios")
"""Columns of what is never read."""
MEDIA_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".wav", ".mp3", ".flac", ".ogg", ".m4a")

LONGEST_PATH = 4096
"""Characters of a path."""


def pictures_of(record: Record) -> list[Any]:
    """Return the pictures of ``images`` or ``image``: the one a setting names, else the filled one.

    Pictures in numbered columns are joined in their order. Raises UserError where both names have
    pictures, and ``images`` does not hold that of ``image``, and for a number that was left out.
    """
    if numbered := numbered_columns(record):
        return joined(record, numbered)
    names = [name for name in ("images", "image") if name in record.columns]
    given = [record.items(record.get(name), name) for name in names or ("images", "image")]
    filled = [pictures for pictures in given if pictures]
    if len(filled) == 2 and not all(picture in filled[0] for picture in filled[1]):
        raise record.error(
            "pictures both in images and in image; name those that are to be seen, as in "
            "data.columns.images=images"
        )
    return filled[0] if filled else []


def numbered_columns(record: Record) -> list[str]:
    """Return the columns that hold a picture each, as image_1, image_2 ... do; [] where none do.

    The first is that which a setting names, if it ends in 1, or else image_1 or image1: a mark such
    as <image 1> counts from 1.
    """
    named = [record.columns[name] for name in ("images", "image") if name in record.columns]
    if not named and not record.has("images", "image"):
        stems = ["image_", "image"]
    elif len(named) == 1 and re.search(r"(?<![0-9])1$", named[0]):
        stems = [named[0][:-1]]
    else:
        return []
    for stem in stems:
        names = (f"{stem}{number}" for number in itertools.count(1))
        columns = [*itertools.takewhile(lambda name: may_hold(record, name), names)]
        if any(is_picture(record.values[name]) for name in columns):
            return columns
    return []


def may_hold(record: Record, name: str) -> bool:
    """Return whether a row has a column with a picture, or with nothing in it."""
    value = record.values.get(name)
    return name in record.values and (is_empty(value) or is_picture(value))


def joined(record: Record, names: Sequence[str]) -> list[Any]:
    """Return the pictures of numbered columns in order; raise UserError for an empty one between.

    The text could mean either picture by its number.
    """
    record.get("images", "image")  # else a column that a setting names would seem unread
    filled = [not is_empty(listed(record.values[name])) for name in names]
    if False in filled[: filled.count(True)]:
        raise record.error(
            f"the column {names[filled.index(False)]!r:.60} is empty, while a later one holds a "
            "picture; number the pictures without gaps"
        )
    every = [record.items(record.values[name], name) for name in names[: filled.count(True)]]
    return [picture for pictures in every for picture in pictures]


def check_read(record: Record) -> None:
    """Raise UserError for a row without the columns ``images`` and ``image`` that has pictures.

    It is asked of rows of which no picture was read. The message names the column, and the setting
    by which it is read. Paths of videos and sounds are refused as ``check_left_out`` does.
    """
    if record.has("images", "image"):  # if only to say that there is none
        return
    taken = {*TEXTS, *record.columns.values()}
    for name, value in record.values.items():
        if name not in taken and is_picture(value):
            raise record.error(
                f"no picture is read, while the column {name!r:.60} holds one; name it by "
                f"data.columns.images={name:.60}, or give images: [] where none is to be seen"
            )
        tells = PICTURE_NAME.fullmatch(name) and not isinstance(value, bool)
        if name not in taken and tells and not is_empty(value):
            raise record.error(
                f"no picture is read, while the column {name!r:.60} tells which one is asked "
                "about; write its file as image, or images: [] where none is to be seen"
            )
        if name not in taken and is_media_path(value):
            raise unread(record, name)


def check_none(record: Record) -> None:
    """Raise UserError for a row with pictures, of a task that asks in words alone.

    They stand in ``images`` or ``image``, in any other column, in the messages of a prompt, or have
    a place in its text. Videos and sounds are refused likewise.
    """
    check_media(record)
    taken = {*TEXTS, *record.columns.values()}
    holding = [
        record.columns.get(name, name)
        for name in ("images", "image")
        if not is_empty(listed(record.get(name)))
    ]
    for name, value in record.values.items():
        if name not in taken and is_media_path(value):
            raise unread(record, name)
        if name not in taken and is_picture(value):
            holding.append(name)
    asked = next((name for name in ASKED if record.get(name) is not None), None)
    if asked is not None and shows(listed(record.get(asked))):
        holding.append(record.columns.get(asked, asked))
    if holding:
        raise record.error(
            f"the column {holding[0]!r:.60} has a picture or its place, and this task asks without "
            "pictures; train such rows by --task vqa, or --task geoqa for geometry"
        )


def check_left_out(record: Record) -> None:
    """Raise UserError for a row with a video, with sound, or with pictures in several columns.

    A question would be asked without them.
    """
    check_media(record)
    read = [record.columns.get(name, name) for name in ("images", "image")]
    read += numbered_columns(record)
    for stem in {name.rstrip("0123456789").rstrip("_") for name in read}:
        others = [name for name in record.values if is_numbered(name, stem) and name not in read]
        for name in others:
            if is_picture(record.values[name]):
                raise record.error(
                    f"the picture in the column {name!r:.60} would be left out; write all pictures "
                    "of a row as one list, images"
                )


def check_media(record: Record) -> None:
    """Raise UserError for a row whose column of videos or sounds is filled."""
    for name in MEDIA:
        filled = not is_empty(listed(record.values.get(name)))
        if filled and name not in record.columns.values():
            raise unread(record, name)


def unread(record: Record, name: str) -> UserError:
    """Return the error for a column with a video or sound."""
    return record.error(
        f"the column {name!r:.60} holds a video or sound, which no task reads; remove the row, or "
        "the column where the question can do without it"
    )


def is_numbered(name: str, stem: str) -> bool:
    """Return whether a column's name is another one's with a number: image2, image_2."""
    return name.removeprefix(stem).removeprefix("_").isdecimal() and name.startswith(stem)


def is_media_path(value: Any) -> bool:
    """Return whether a value is the path of a video or sound, by its ending."""
    path = isinstance(value, str) and len(value) <= LONGEST_PATH
    return path and value.lower().endswith(MEDIA_SUFFIXES)


def shows(prompt: Any) -> bool:
    """Return whether a text, or chat messages, have a place for a picture or hold one."""
    if isinstance(prompt, str):
        return PLACE in prompt
    messages = [item for item in flattened(prompt) if isinstance(item, Mapping)]
    parts = [part for message in messages for part in flattened(message.get("content"))]
    return any(
        part.get("type") in ("image", "image_url") if isinstance(part, Mapping) else shows(part)
        for part in parts
        if isinstance(part, Mapping | str)
    )


def is_empty(value: Any) -> bool:
    """Return whether a value holds nothing: null, NaN, an empty text or list, or such alone."""
    if isinstance(value, Mapping):  # a file of the hub that is none
        value = [*value.values()]
    if isinstance(value, list | tuple):
        return all(item is None or item == "" for item in value)
    return is_null(value) or value == ""


def is_picture(value: Any) -> bool:
    """Tell whether a value can only be a picture, or a list of them: a path by its ending."""
    if isinstance(value, str):
        value = listed(value)
    if isinstance(value, str):
        path = len(value) <= LONGEST_PATH and value.lower().endswith(SUFFIXES)
        # Nothing is fetched, so that a page's picture is no picture of the row.
        return (path and not URL.match(value)) or value.startswith(BASE64_HEADS)
    if isinstance(value, bytes | bytearray):
        return bytes(value[:4]).startswith(tuple(HEADS))
    if isinstance(value, list | tuple):
        # The first tells: lists hold values of one kind, or nulls that fill them up.
        return any(is_picture(item) for item in value[:1] if not isinstance(item, list | tuple))
    if isinstance(value, Mapping):
        return any(is_picture(value[key]) for key in HUB_KEYS[:3]
                   if isinstance(value.get(key), str | bytes))  # fmt: skip
    return isinstance(value, Image.Image)
