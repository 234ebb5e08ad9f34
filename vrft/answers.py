"""The format contract ``<think>reasoning</think><answer>answer</answer>`` and its readings.

Every function takes time linear in the length of the text, whatever a model wrote: patterns have
possessive quantifiers (``\\s*+``) or bounded repeats, so that no match is tried twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONTRACT = re.compile(r"<think>(.*?)</think>\s*+<answer>(.*?)</answer>", re.DOTALL)
JUNCTION = re.compile(r"</think>\s*+<answer>")

# The patterns for options match text that `_normalised` has put in lower case on one line.
QUOTES = "*`\"'“”‘’ "
STOPS = ".,;:!?"
LEAD_IN = re.compile(r"(the )?((correct |final )?answer|option|choice)( is)?:? ")
"""The words before an answer: "the correct answer is: ", "option "."""
OPENING_LETTER = re.compile(r"([a-z])([).:,](?= |$)|$)")
"""A letter that begins an answer and is followed by a stop, or is all of it: "b. below", "b".

A letter without a stop is an article: "a chair" does not mean option A.
"""
BRACKETED_LETTER = re.compile(r"\(([a-z])\)")
DENIAL = re.compile(r"\b(not|never|neither|nor|cannot)\b|n['’]t\b")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


def answer_text(text: str) -> str | None:
    """Return the answer of a text that keeps the contract exactly, stripped; None for any other.

    A text keeps the contract if it is one think block and one answer block, in this order, neither
    of them empty. Only whitespace may stand between the blocks and around them.
    """
    # The pattern alone would let a block hold further tags, and would try every pair of them.
    if any(text.count(tag) != 1 for tag in TAGS):
        return None
    match = CONTRACT.fullmatch(text.strip())
    if match is None or not match[1].strip():
        return None
    return match[2].strip() or None


def follows_format(text: str) -> bool:
    """Return whether the text keeps the contract exactly."""
    return answer_text(text) is not None


def last_answer(text: str) -> str | None:
    """Return the last non-empty answer block, stripped, whatever surrounds it; None without one.

    This is the lenient reading, which judges an answer apart from its form. A model that wrote
    several answers settled on the last one.
    """
    for block in reversed(text.split("<answer>")[1:]):
        answer, closed, _ = block.partition("</answer>")
        if closed and answer.strip():
            return answer.strip()
    return None


def legacy_format(text: str) -> bool:
    """Return whether the published format rule accepts the text.

    The published pattern must match the full text, so whitespace around it is refused, while empty
    and repeated blocks pass. It is checked in parts here, since its backtracking is quadratic.
    """
    head, tail = TAGS[0], TAGS[3]
    if not (text.startswith(head) and text.endswith(tail)):
        return False
    return JUNCTION.search(text[len(head) : -len(tail)]) is not None


def legacy_answer(text: str) -> str:
    """Return the first answer block, stripped; the full text where there is none (published)."""
    _, opened, rest = text.partition("<answer>")
    answer, closed, _ = rest.partition("</answer>")
    return answer.strip() if opened and closed else text


def choice(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the option that an answer names; None if it names none or several.

    An answer names an option

    - by being its text, in any case;
    - by its letter: alone, in brackets, or before a stop at the start ("B", "(b)", "B. below");
    - by its text within a sentence.

    A sentence with a "not" names no option, and neither does a letter beside another option's text.
    """
    wanted = [_normalised(option) for option in options]
    answer = _normalised(text)
    if lead_in := LEAD_IN.match(answer):
        answer = answer[lead_in.end() :]
    if answer and answer in wanted:
        return wanted.index(answer)

    letters = BRACKETED_LETTER.findall(answer)
    if opening := OPENING_LETTER.match(answer):
        letters.append(opening[1])
        answer = answer[opening.end() :]

    # The longest option first: "left" would match the beginning of "left by 30 degrees".
    by_length = sorted(filter(None, wanted), key=len, reverse=True)
    any_option = "|".join(map(re.escape, by_length)) or "(?!)"  # of no options nothing matches
    # An option counts as a word of its own: "2" is no part of "-2", "1/2", "2.5" or "1,2".
    mention = re.compile(rf"(?<![\w./-])(?<!\d[,:])(?:{any_option})(?![\w/]|[.,:]\d)")

    named = {ord(letter) - ord("a") for letter in letters}
    named |= {wanted.index(option) for option in mention.findall(answer)}
    # Mentions are removed first, as a "not" inside an option ("not moving") denies nothing.
    denied = DENIAL.search(mention.sub("", answer)) is not None
    if denied or len(named) != 1:
        return None
    (index,) = named
    return index if index < len(options) else None  # a letter may lie behind the last option's


def whole_number(text: str) -> int | None:
    """Return the only whole number of an answer, of up to nine ASCII digits; None otherwise.

    Words may surround the number ("There are 7 cubes."), but none of them may hold another digit,
    of any script. Decimals, sums and ranges are no whole numbers.
    """
    around = QUOTES + "()[]"
    # isnumeric also sees the digits of other scripts, so that they make an answer unreadable.
    numeric = (word for word in text.split() if any(map(str.isnumeric, word)))
    numbers = {word.strip(around).rstrip(STOPS).strip(around) for word in numeric}
    if len(numbers) != 1:
        return None
    (number,) = numbers
    return int(number) if WHOLE_NUMBER.fullmatch(number) else None


def _normalised(text: str) -> str:
    """Return the text in lower case on one line, without quotes around it and stops behind it."""
    line = " ".join(text.split()).casefold()
    # Stops lie inside quotes or outside: '"below".' and '"below."' are the same answer.
    return line.strip(QUOTES).rstrip(STOPS).strip(QUOTES)
