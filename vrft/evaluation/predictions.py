"""The file predictions.jsonl: one answer a line, raw text, from which all else is computed.

Beside it lies settings.json, which says what made the answers and guards against mixing two runs.
"""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.types import Prediction, Space, View

PREDICTIONS = "predictions.jsonl"
SETTINGS = "settings.json"


def to_line(prediction: Prediction) -> str:
    """One line of JSON with its line end; ``views`` are written [width, height, space]."""
    row = {
        "id": prediction.sample_id,
        "text": prediction.text,
        "views": [[view.width, view.height, view.space] for view in prediction.views],
        "repeat": prediction.repeat,
        "tokens": prediction.tokens,
        "finished": prediction.finished,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_predictions(path: Path) -> list[Prediction]:
    """The predictions of a file, ours or one with only ``id`` and ``text`` in each line.

    A last line cut off by a kill is left out. Raises UserError that names the line for one that
    cannot be read, and for a second answer to the same sample and repeat.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    found: dict[tuple[str, int], Prediction] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise UserError(f"{path} line {number}: not JSON; mend or delete the line") from error
        prediction = from_row(row, f"{path} line {number}")
        key = (prediction.sample_id, prediction.repeat)
        if key in found:
            raise UserError(f"{path} line {number}: a second answer to {key[0]!r}; keep one")
        found[key] = prediction
    return list(found.values())


def from_row(row: Any, where: str) -> Prediction:
    """The prediction in one decoded line; UserError that begins with ``where`` if it holds none."""
    if not isinstance(row, Mapping):
        raise UserError(f'{where}: expected {{"id": ..., "text": ...}}')
    sample_id, text = row.get("id"), row.get("text")
    if not isinstance(sample_id, str | int) or not isinstance(text, str):
        raise UserError(f'{where}: expected "id" and "text", the answer as the model wrote it')
    repeat, tokens, finished = row.get("repeat", 0), row.get("tokens", 0), row.get("finished", True)
    if type(repeat) is not int or type(tokens) is not int or type(finished) is not bool:
        raise UserError(f'{where}: "repeat" and "tokens" are whole numbers, "finished" is a bool')
    views = to_views(row.get("views", []), where)
    return Prediction(str(sample_id), text, views, repeat, tokens, finished)


def to_views(rows: Any, where: str) -> tuple[View, ...]:
    """The views in their written form, [[width, height, space], ...]; UserError for another."""
    match rows:
        case [*views] if all(is_view(view) for view in views):
            return tuple(View(*view) for view in views)
    raise UserError(f'{where}: "views" is a list of [width, height, "thousandths" or "pixels"]')


def is_view(row: Any) -> bool:
    """Whether ``row`` is [width, height, space] with sizes above zero."""
    match row:
        case [int(width), int(height), str(space)]:
            return width > 0 and height > 0 and space in typing.get_args(Space)
    return False


def prepare(folder: Path, settings: Mapping[str, Any]) -> list[Prediction]:
    """Make ``folder`` ready for more predictions, and return those it holds already.

    A last line cut off by a kill is removed. Raises UserError if the folder holds predictions
    that were made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PREDICTIONS
    complete = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
    if not complete:
        write_json(folder / SETTINGS, settings)
        path.write_bytes(b"")
        return []
    for name, old, new in differences(read_settings(folder), settings):
        raise UserError(
            f"{folder}: holds an evaluation with {name}: {old}, not {new}; choose another folder"
        )
    os.truncate(path, complete)
    return read_predictions(path)


def append(folder: Path, fresh: Iterable[Prediction]) -> Iterator[Prediction]:
    """Each fresh prediction, once it is written to the folder's file."""
    with (folder / PREDICTIONS).open("a", encoding="utf-8", newline="\n") as file:
        for prediction in fresh:
            file.write(to_line(prediction))
            file.flush()
            yield prediction


def read_settings(folder: Path) -> dict[str, Any]:
    """What made the predictions in ``folder``; UserError if its settings.json is not there."""
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: not found; for answers of another tool give a folder of their own to "
            "`vrft eval --benchmark NAME --predictions FILE --out DIR`"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON; delete the folder and evaluate again") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected settings by name, got {type(settings).__name__}")
    return settings


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Sequence[tuple[str, Any, Any]]:
    """(dotted name, old value, new value) of every setting in which the two differ."""
    found: list[tuple[str, Any, Any]] = []
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found.extend(differences(a, b, f"{prefix}{key}."))
        elif a != b:
            found.append((prefix + key, a, b))
    return found


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON, never seen half-written under its name."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
