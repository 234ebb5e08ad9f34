"""The kind of answer that a split has, and what of its answers a user should know."""

from __future__ import annotations

from collections.abc import Sequence

from vrft.records.rows import Row
from vrft_tasks._vqa_answers import FITS, Kind, accepted, looks_numeric

LONG = 100
"""Characters of a text that a model is not likely to write as it stands in the data."""
MOST = 0.5
"""A kind of more than this fraction of the answers is meant for all, it may be."""


def kind_of(rows: Sequence[Row], accept_any: bool) -> Kind:
    """Return the kind of answer that all rows of a split have, "text" where they differ.

    ``accept_any`` is that of accepted(). Raises UserError where some rows have options and others
    have none.
    """
    with_options = [bool(row.options) for row in rows]
    if any(with_options):
        if not all(with_options):
            raise rows[with_options.index(False)].record.error(
                f"no options, as {rows[with_options.index(True)].record.where} has; add them, or "
                "set task.kind=text"
            )
        return "option"
    texts = [text for row in rows for text in accepted(row, accept_any)]
    initials = {text.casefold() for text in texts}
    if initials in ({"y", "n"}, {"t", "f"}):
        return "yes_no"
    return next((kind for kind, fits in FITS.items() if all(map(fits, texts))), "text")


def exception(rows: Sequence[Row], accept_any: bool) -> str:
    """Return in words which answer makes those of a split texts, while most are of another kind.

    "" where no other kind has most of them.
    """
    every = [(row, text) for row in rows for text in accepted(row, accept_any)]
    texts = [text for _, text in every]
    for kind, fits in {**FITS, "number": looks_numeric}.items():
        fitting = [fits(text) for text in texts]
        share = sum(fitting) / len(texts)
        strict = [FITS[kind](text) for text in texts]
        if share > MOST and not all(strict):
            odd = strict.index(False)
            words = {"option": "letters", "number": "numbers", "yes_no": "yes or no"}[kind]
            return (
                f"{sum(fitting)} of {len(texts)} look like {words}, but {texts[odd]!r:.60} of "
                f"{every[odd][0].record.where} is none: correct it, or set task.kind={kind} or text"
            )
    return ""


def long_texts(rows: Sequence[Row], accept_any: bool) -> str:
    """Return in words how many answers are too long to be given word for word; "" for none."""
    every = [text for row in rows for text in accepted(row, accept_any)]
    count = sum(len(text) > LONG or "\n" in text for text in every)
    if not count:
        return ""
    return (
        f"{count} of {len(every)} have several lines or over {LONG} characters, and only the same "
        "text is right"
    )
