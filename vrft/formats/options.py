"""The options of a question (a list, texts by letters or columns), and answers by their number."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from vrft import answers, wrapping
from vrft.formats.option_letters import LETTERS, without_letters
from vrft.numbers import compact
from vrft.records.nested import is_list_of_texts, listed, shown
from vrft.records.record import Record, is_finite, is_null, number_text

NUMBERS = tuple(map(str, range(100)))
OPTION = re.compile(r"(?:option|choice)[_ ]?([a-z]|[0-9]{1,2})", re.IGNORECASE)
"""The name of a column that holds one option: option_a, optionB, choice1."""
ESCAPE = r"\\(?:[\\'\"nrt]|x[0-9a-f]{2}|u(?!d[89a-f])[0-9a-f]{4})"
ESCAPED = r"\\\n\r\x00\ud800-\udfff"
"""Characters that stand in no text as they are."""
PYTHON_TEXT = rf"(?:'(?:[^'{ESCAPED}]|{ESCAPE})*+'|\"(?:[^\"{ESCAPED}]|{ESCAPE})*+\")"
"""A text as repr() of Python writes it, with the escapes that it has."""
PYTHON_LIST = re.compile(rf"\[{PYTHON_TEXT}(?:, ?{PYTHON_TEXT})*+\]")
"""A list of texts as repr() writes it. Texts without a comma between are NumPy's or a slip."""
LONGEST_LIST = 20_000
"""Characters; a longer text is no list of options or answers."""
TABLE = re.compile(r"\.csv: ", re.IGNORECASE)
"""Where a row of a file stands whose values have no types."""
DIGITS = re.compile("[0-9]{1,3}")
MARKS = " .:,;)]-–—*"
"""Signs between the letter of an option and its text."""
WHOLE = re.compile(r"[0-9]{1,3}(?:\.0)?")
"""A whole number of a table, 1, or 1.0 where another row has none."""


def options_of(record: Record) -> tuple[str, ...]:
    """Return the options of a row without their letters, () where there are none.

    Raises UserError as ``option_texts``.
    """
    options = record.get("options", "choices") or lettered_columns(record)
    return () if options is None else without_letters(option_texts(record, options))


def lettered_columns(record: Record) -> dict[str, Any] | None:
    """Return the columns of a row that hold one option each, by the letters of these; else None.

    They are A, B, C ... as in MMBench, or option_a, option_b ..., or option1, option2 ..., of which
    the first two have a value.
    """
    single = {name: name for name in record.values if name in LETTERS}
    marked = {mark[1].upper(): name for name in record.values if (mark := OPTION.fullmatch(name))}
    for columns, marks in (
        (single, LETTERS),
        (marked, LETTERS),
        (marked, NUMBERS),
        (marked, NUMBERS[1:]),
    ):
        named = [columns[mark] for mark in itertools.takewhile(columns.__contains__, marks)]
        values = [record.values[name] for name in named]
        if len(values) > 1 and not any(map(is_null, values[:2])):
            return {chr(ord("A") + place): value for place, value in enumerate(values)}
    return None


def option_texts(record: Record, options: Any) -> tuple[str, ...]:
    """Return options: a list of texts or numbers, or by letters as {"A": ..., "B": ...}.

    A text may hold them as JSON, or a list of texts as Python writes it. Nulls and NaN at the end
    fill up what other rows have more of. Raises UserError for anything else.
    """
    given = list_in_text(options)
    if isinstance(given, dict):
        letters = [chr(ord("A") + place) for place in range(len(given))]
        given = list(given.values()) if [*map(str.upper, given)] == letters else None
    texts = None if not isinstance(given, list) else [option_text(option) for option in given]
    while texts and is_null(given[len(texts) - 1]):
        texts.pop()
    if texts is None or None in texts:
        python = is_list_of_texts(given)
        told = "; this is no list as JSON or Python writes it: write one in JSON" if python else ""
        raise record.error(
            f"options: expected a list of texts, or texts by letters from A; got {shown(options)}"
            + told
        )
    return tuple(text for text in texts if text is not None)


def list_in_text(value: Any) -> Any:
    """Return the list that a text holds as JSON, or as a list of texts in Python's writing.

    Any other value is returned as ``listed`` returns it, tuples and arrays of NumPy too.
    """
    given = listed(value)
    if not isinstance(given, str) or len(given) > LONGEST_LIST:
        return given
    return ast.literal_eval(text) if PYTHON_LIST.fullmatch(text := given.strip()) else given


def option_text(option: Any) -> str | None:
    """Return an option, a text or a finite number, as a text; None for any other value."""
    if isinstance(option, str):
        return option.strip()
    number = isinstance(option, int | float | Decimal) and not isinstance(option, bool)
    return number_text(option) if number and is_finite(option) else None


def counted(record: Record, answer: Any, options: Sequence[str], first: int) -> int:
    """Return the index of the option whose number the answer is; the first option has ``first``.

    Raises UserError for an answer that is no whole number, or the number of none of the options.
    """
    number = option_text(answer)
    if number is None or WHOLE.fullmatch(number) is None:
        raise record.error(
            f"the answer {shown(answer)} is no whole number, which task.option_index={first} takes "
            "for the place of an option; correct it, or leave the setting out"
        )
    index = int(float(number)) - first
    if not 0 <= index < len(options):
        raise record.error(
            f"the answer {shown(answer)} is the place of none of {len(options)} options, of which "
            f"the first has the number {first} (task.option_index)"
        )
    return index


def check_count(record: Record, answer: Any, options: Sequence[str], index: int) -> None:
    """Raise UserError for a whole number that is the text of an option and may be another's place.

    ``index`` is that of the option whose text it is. A number within a text is no place, but in a
    CSV, which has texts alone.
    """
    typed = TABLE.search(record.where) is None
    written = isinstance(answer, str) and not typed and DIGITS.fullmatch(answer.strip())
    if not written and (not isinstance(answer, int) or isinstance(answer, bool)):
        return
    place = int(answer)
    if 0 <= place < len(options) and place != index:
        told = f'write it as a text, "{answer}"' if typed else "write the option's letter"
        raise record.error(
            f"the answer {answer} is the text of one option, and the place of another if they are "
            "counted from 0; set task.option_index=0 or 1, the number of the first, if it counts "
            f"them, or {told}"
        )


def check_named(record: Record, answer: str, options: Sequence[str], index: int) -> None:
    """Raise UserError unless a gold answer is all of an option: its text, its letter, or both.

    An answer of a model may mention it in a sentence; of "Paris, Texas" as a gold answer nobody
    knows that it means the option "Paris". Nothing is checked where no texts are known.
    """
    said, option = as_compared(answer), as_compared(options[index])
    letter = re.match(rf"[(\[]?{chr(ord('a') + index)}(?![a-z0-9])[)\]]?", said)
    rests = [said] + ([said[letter.end() :].lstrip(MARKS)] if letter else [])
    if any(options) and option not in rests and "" not in rests:
        raise record.error(
            f"the answer {answer!r:.60} says more or less than the option {options[index]!r:.60}, "
            "and a gold answer is all of an option; write its text or its letter"
        )


def as_compared(text: str) -> str:
    """Return a text in lower case without wordings, and blanks beside digits, for a comparison."""
    line = wrapping.uncounted(wrapping.bare(text).casefold())
    return compact(line.strip(answers.QUOTES).rstrip(answers.STOPS).strip(answers.QUOTES))
