"""The kinds of answers that a split or its rows have, and what of them a user should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from vrft.errors import UserError
from vrft.formats.option_letters import options_in
from vrft.formats.rows import Row
from vrft_tasks._vqa_answers import (
    FITS,
    INITIALS,
    Kind,
    Rules,
    accepted,
    blanks,
    core,
    has_options,
    is_letter,
    is_like_number,
)

KindSetting = Literal["option", "number", "yes_no", "text", "by_row"]
"""The kind of all answers of a split, or "by_row" for each row's own."""

WORDS: dict[Kind, str] = {
    "option": "options", "number": "numbers", "yes_no": "yes or no", "text": "texts"
}  # fmt: skip
"""Kind -> its name in a line about answers."""
LONG = 100
"""Characters of a text that a model is not likely to write as it stands in the data."""
MOST = 0.5
"""A kind of more than this fraction of the answers is meant for all, it may be."""
MANY = 0.1
"""From this fraction on, answers of other kinds among texts are no exceptions."""
CHANCE = 20
"""From so many rows on, right options of one letter are no chance."""


def kinds_of(rows: Sequence[Row], setting: KindSetting | None, rules: Rules) -> Sequence[Kind]:
    """Return the kind of answer of each row of a split.

    ``setting`` None: one kind for all rows, found from their answers. Raises UserError as
    ``kind_of``.
    """
    if rules.option_index is not None and not any(has_options(row, rules) for row in rows):
        raise UserError(
            f"task.option_index={rules.option_index}: no row has options that an answer could "
            "count; leave it out"
        )
    if setting == "by_row":
        return kinds_by_row(rows, rules)
    return [setting or kind_of(rows, rules)] * len(rows)


def kinds_by_row(rows: Sequence[Row], rules: Rules) -> list[Kind]:
    """Return the kind of answer of each row, "option" where it has options or a letter answers.

    Y and N, or T and F, are yes and no where no other letter answers a question without options.
    """
    kinds: list[Kind] = []
    for row in rows:
        if has_options(row, rules):
            kinds.append("option")
        else:
            kinds.append(shared_kind([fitting(row, text) for text in accepted(row, rules)]))
    mark_truths(rows, kinds, rules)
    return kinds


def fitting(row: Row, text: str) -> tuple[Kind, ...]:
    """Return the kinds that an answer of a row is of, "text" aside."""
    return tuple(kind for kind, fits in FITS.items() if fits(row, text))


def shared_kind(kinds: Sequence[Collection[Kind]]) -> Kind:
    """Return the first kind that all answers of a row are of, "text" where there is none."""
    return next((kind for kind in FITS if all(kind in of_one for of_one in kinds)), "text")


def mark_truths(rows: Sequence[Row], kinds: list[Kind], rules: Rules) -> None:
    """Make letters of rows without options yes and no, where they are so in short."""
    alone = [
        place
        for place, row in enumerate(rows)
        if kinds[place] == "option" and not (row.options or options_in(row.question))
    ]
    if is_truth_in_short({text for place in alone for text in accepted(rows[place], rules)}):
        for place in alone:
            kinds[place] = "yes_no"


def kind_of(rows: Sequence[Row], rules: Rules) -> Kind:
    """Return the kind of answer that all rows of a split have, "text" where they differ.

    Raises UserError where some rows have options and others have none.
    """
    with_options = [has_options(row, rules) for row in rows]
    if any(with_options):
        if not all(with_options):
            raise rows[with_options.index(False)].record.error(
                f"no options, as {rows[with_options.index(True)].record.where} has; add them, or "
                "set task.kind=by_row to ask each row for its own kind of answer"
            )
        return "option"
    every = [(row, text) for row in rows for text in accepted(row, rules)]
    if is_truth_in_short({text for _, text in every}):
        return "yes_no"
    return next(
        (kind for kind, fits in FITS.items() if all(fits(row, text) for row, text in every)), "text"
    )


def is_truth_in_short(texts: Collection[str]) -> bool:
    """Return whether answers are Y and N, or T and F, and no others."""
    if not all(map(is_letter, texts)):
        return False
    letters = {core(text).casefold() for text in texts}
    return letters <= INITIALS.keys() and letters in ({"y", "n"}, {"t", "f"})


def other_kinds(rows: Sequence[Row], rules: Rules) -> str:
    """Return in words which kinds the answers of a split of texts are of by themselves.

    Where most are of one kind the first that is not is named; "" where few are of any.
    """
    every = [[(text, fitting(row, text)) for text in accepted(row, rules)] for row in rows]
    if odd := exception(rows, every):
        return odd
    kinds = [shared_kind([of_one for _, of_one in answers]) for answers in every]
    mark_truths(rows, kinds, rules)
    counts = Counter(kinds)
    if len(rows) - counts["text"] < MANY * len(rows):
        return ""
    return (
        f"{counted(counts)} by themselves: task.kind=by_row asks each row for its own kind, "
        "task.kind=text takes all as texts"
    )


def exception(rows: Sequence[Row], every: Sequence[Sequence[tuple[str, Sequence[Kind]]]]) -> str:
    """Return in words which answer makes those of a split texts, while most are of another kind.

    ``every`` has the answers of each row, and the kinds that each is of. "" where no other kind
    has most of them.
    """
    flat = [(row, *answer) for row, answers in zip(rows, every, strict=True) for answer in answers]
    for kind in FITS:
        strict = [kind in kinds for _, _, kinds in flat]
        alike = [
            fits or (kind == "number" and is_like_number(text))
            for fits, (_, text, _) in zip(strict, flat, strict=True)
        ]
        if sum(alike) / len(flat) > MOST and not all(strict):
            row, text, _ = flat[strict.index(False)]
            words = {"option": "letters", "number": "numbers", "yes_no": "yes or no"}[kind]
            return (
                f"{sum(alike)} of {len(flat)} look like {words}, but {text!r:.60} of "
                f"{row.record.where} is none: correct it, or set task.kind={kind}, text or by_row"
            )
    return ""


def counted(counts: Counter[Kind]) -> str:
    """Return in words how many rows have each kind of answer."""
    return ", ".join(f"{name} ({counts[kind]})" for kind, name in WORDS.items() if counts[kind])


def same_letter(letters: Iterable[str]) -> str:
    """Return in words that the right options of many rows have one letter; "" if they have not.

    Letters are drawn one by one, and no more once two of them differ.
    """
    first, count = "", 0
    for letter in letters:
        if first not in ("", letter):
            return ""
        first, count = letter, count + 1
    if count < CHANCE:
        return ""
    return (
        f"the right option is {first} in all {count} rows with options, which a model learns "
        "instead of looking; --task spatial shuffles options whose right one is given as a text"
    )


def left_out(rows: Sequence[Row], rules: Rules) -> str:
    """Return in words how many blank answers are left out beside others; "" for none."""
    count = sum(blanks(row, rules) for row in rows) if rules.accept_any else 0
    return f"{count} blank among several are left out" if count else ""


def long_texts(rows: Sequence[Row], rules: Rules) -> str:
    """Return in words how many answers are too long to be given word for word; "" for none."""
    every = [text for row in rows for text in accepted(row, rules)]
    count = sum(len(text) > LONG or "\n" in text for text in every)
    if not count:
        return ""
    return (
        f"{count} of {len(every)} have several lines or over {LONG} characters, and only the same "
        "text is right"
    )
