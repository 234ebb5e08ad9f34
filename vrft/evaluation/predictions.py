"""The file predictions.jsonl: one answer a line, raw text from which every score is computed.

Beside it lies the file of ``settings_file``, which records what made the answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.evaluation.settings_file import (
    ESCAPED,
    SETTINGS,
    check_same,
    read_settings,
    write_json,
)
from vrft.system import disk_errors, durable, folder_lock
from vrft.types import Prediction, Space, View

PREDICTIONS = "predictions.jsonl"

SCORES = "scores.json"

DERIVED = (SCORES, "masks.jsonl")
"""The files beside them that were made from answers, and are of no use without them."""

AGAIN = "and evaluate again: what is answered there is not asked again"
"""What to do after a disk that was full."""

# --- one line


def to_line(prediction: Prediction) -> str:
    """Return one line of JSON with its line end; a view is written [width, height, space]."""
    row = {
        "id": prediction.sample_id,
        "text": prediction.text,
        "views": [[view.width, view.height, view.space] for view in prediction.views],
        "repeat": prediction.repeat,
        "tokens": prediction.tokens,
        "finished": prediction.finished,
    }
    # JSON escapes "\n", and leaves the other line separators of Unicode as they are.
    return json.dumps(row, ensure_ascii=False) + "\n"


def from_row(row: Any, where: str) -> Prediction:
    """Return the prediction in one decoded line.

    Raises UserError that begins with ``where``, the file and line, if the row holds none.
    """
    if not isinstance(row, Mapping):
        raise UserError(f'{where}: expected {{"id": ..., "text": ...}}')
    sample_id, text = row.get("id"), row.get("text")
    # Other tools number their samples; our ids are texts.
    if not isinstance(sample_id, str | int) or not isinstance(text, str):
        raise UserError(f'{where}: expected "id" and "text", the answer as the model wrote it')
    repeat, tokens, finished = row.get("repeat", 0), row.get("tokens", 0), row.get("finished", True)
    # type() and not isinstance: True is an int to Python, and no number of tokens.
    if type(repeat) is not int or type(tokens) is not int or type(finished) is not bool:
        raise UserError(f'{where}: "repeat" and "tokens" are whole numbers, "finished" is a bool')
    views = to_views(row.get("views", []), where)
    return Prediction(str(sample_id), text, views, repeat, tokens, finished)


def to_views(rows: Any, where: str) -> tuple[View, ...]:
    """Return the views written as [[width, height, space], ...]; else raise UserError."""
    match rows:
        case [*views] if all(is_view(view) for view in views):
            return tuple(View(*view) for view in views)
    raise UserError(f'{where}: "views" is a list of [width, height, "thousandths" or "pixels"]')


def is_view(row: Any) -> bool:
    """Tell whether ``row`` is [width, height, space] with sizes above zero."""
    match row:
        case [int(width), int(height), str(space)]:
            return width > 0 and height > 0 and space in typing.get_args(Space)
    return False


# --- the file and its folder


def read_predictions(path: Path) -> list[Prediction]:
    """Read the predictions of a file, ours or one with only ``id`` and ``text`` in each line.

    A last line that a kill has cut off is left out. Raises UserError, with the number of the line,
    for a line that cannot be read and for a second answer to the same sample and repeat.
    """
    try:
        # Not splitlines(): that would also split at U+2028 and other separators inside a text.
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    predictions: dict[tuple[str, int], Prediction] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            # Behind the last piece stands no line end: a kill has cut it off.
            if number == len(lines):
                break
            raise UserError(f"{path} line {number}: not JSON; mend or delete the line") from error
        prediction = from_row(row, f"{path} line {number}")
        key = (prediction.sample_id, prediction.repeat)
        if key in predictions:
            raise UserError(f"{path} line {number}: a second answer to {key[0]!r}; keep one")
        predictions[key] = prediction
    return list(predictions.values())


def prepare(folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> list[Prediction]:
    """Make ``folder`` ready for more predictions, and return those that it holds already.

    A last line that a kill has cut off is removed. ``fresh`` forgets the evaluation in the folder.
    Data that were moved are noted in its settings, where they are still the same.
    Raises UserError if the folder holds predictions that were made with other settings, from other
    data or by other code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PREDICTIONS
    complete = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0  # bytes up to a line end
    if fresh or not complete:
        empty(folder)
        forget_derived(folder)
        # Nothing was answered yet, so that mistyped settings may be replaced.
        write_json(folder / SETTINGS, settings)
        return []
    moved = check_same(folder, settings)
    # Only after the settings are known to agree: a refused folder stays as it was.
    if moved:
        benchmark = {"benchmark": settings["benchmark"]}  # which says where the data lie now
        write_json(folder / SETTINGS, read_settings(folder) | benchmark)
    os.truncate(path, complete)
    return read_predictions(path)


def empty(folder: Path) -> None:
    """Empty the folder's file of predictions, for good, before other settings are written.

    After a kill in between, old answers would else pass for those of the new settings.
    """
    path = folder / PREDICTIONS
    path.write_bytes(b"")
    durable.sync(path)


def forget_derived(folder: Path) -> None:
    """Delete the files that were made from the answers in a folder."""
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of an evaluation, so that no other process writes into it meanwhile.

    An evaluation that is refused before its first answer leaves nothing of what it has made there.
    Raises UserError where another process holds the folder, or it cannot be written, be it that the
    disk is full in the middle.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with (
            folder_lock.held(folder, "an evaluation"),
            emptied_if_refused(folder),
            disk_errors.explained(folder, then=AGAIN),
        ):
            yield
    except UserError:
        for made in missing:
            with contextlib.suppress(OSError):  # something else lies in it by now
                made.rmdir()
        raise


@contextlib.contextmanager
def emptied_if_refused(folder: Path) -> Iterator[None]:
    """Remove the files of an evaluation that is refused before its first answer."""
    try:
        yield
    except UserError:
        path = folder / PREDICTIONS
        if path.is_file() and not path.stat().st_size:
            path.unlink()
            (folder / SETTINGS).unlink(missing_ok=True)
        raise


def store(
    folder: Path,
    settings: Mapping[str, Any],
    answers: Sequence[Prediction],
    *,
    in_place: bool = False,
) -> None:
    """Write predictions that are complete, with their settings, into a folder of their own.

    Those that were read from the folder itself lie there ``in_place``: a kill must not cost them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not in_place:
        empty(folder)
    write_json(folder / SETTINGS, settings)
    durable.write_text(folder / PREDICTIONS, "".join(map(to_line, answers)), errors=ESCAPED)


def append(folder: Path, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield each prediction as soon as it is written to the folder's file."""
    path = folder / PREDICTIONS
    with path.open("a", encoding="utf-8", errors=ESCAPED, newline="\n") as file:
        for prediction in predictions:
            file.write(to_line(prediction))
            # The next answer may take minutes; a kill meanwhile must not cost this one.
            file.flush()
            yield prediction
