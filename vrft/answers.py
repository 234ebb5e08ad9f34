"""The format contract: ``<think>reasoning</think><answer>answer</answer>``, and what is read of it.

Every function is linear in the length of the text, whatever a model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONTRACT = re.compile(r"<think>(.*?)</think>\s*+<answer>(.*?)</answer>", re.DOTALL)
JUNCTION = re.compile(r"</think>\s*+<answer>")

QUOTES = "*`\"'“”‘’ "
STOPS = ".,;:!?"
LEAD = re.compile(r"(the )?((correct |final )?answer|option|choice)( is)?:? ")
FIRST_LETTER = re.compile(r"([a-z])([).:,](?= |$)|$)")
LETTER = re.compile(r"\(([a-z])\)")
DENIAL = re.compile(r"\b(not|never|neither|nor|cannot)\b|n['’]t\b")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


def answer_text(text: str) -> str | None:
    """The answer of a text that keeps the contract exactly, stripped; None for any other text.

    Whitespace around the whole and between the blocks is free. There is exactly one block of each
    kind, in order, with nothing beside them, and neither is empty.
    """
    if any(text.count(tag) != 1 for tag in TAGS):
        return None
    match = CONTRACT.fullmatch(text.strip())
    if match is None or not match[1].strip():
        return None
    return match[2].strip() or None


def follows_format(text: str) -> bool:
    """Whether the text keeps the contract exactly."""
    return answer_text(text) is not None


def last_answer(text: str) -> str | None:
    """The last non-empty answer block, stripped, whatever stands around it; None without one.

    The lenient reading, for grading an answer apart from its form: the last block is what a model
    settled on when it wrote several.
    """
    for block in reversed(text.split("<answer>")[1:]):
        answer, closed, _ = block.partition("</answer>")
        if closed and answer.strip():
            return answer.strip()
    return None


def legacy_format(text: str) -> bool:
    """The published format rule: opens with a think tag, ends with an answer tag, joined inside.

    It is the published pattern matched against the full text, so that outer whitespace breaks it,
    while empty and repeated blocks pass.
    """
    head, tail = TAGS[0], TAGS[3]
    if not (text.startswith(head) and text.endswith(tail)):
        return False
    return JUNCTION.search(text[len(head) : -len(tail)]) is not None


def legacy_answer(text: str) -> str:
    """The published reading: the first answer block, or the whole text where there is none."""
    _, opened, rest = text.partition("<answer>")
    answer, closed, _ = rest.partition("</answer>")
    return answer.strip() if opened and closed else text


def choice(text: str, options: Sequence[str]) -> int | None:
    """The index of the one option that an answer names, None if it names none or several.

    It names an option by its whole text in any case; by its letter alone, in parentheses, or with
    a stop at the start ("B", "(b)", "B. below"); or by its text or "(B)" within a sentence. "A
    chair" is not option A, a sentence with a "not" in it names none, and a letter beside another
    option's text names two.
    """
    wanted = [_plain(option) for option in options]
    answer = _plain(text)
    answer = answer[match.end() :] if (match := LEAD.match(answer)) else answer
    if answer and answer in wanted:
        return wanted.index(answer)
    letters = LETTER.findall(answer)
    if first := FIRST_LETTER.match(answer):
        letters.append(first[1])
        answer = answer[first.end() :]
    texts = _mention(wanted)
    named = {ord(letter) - ord("a") for letter in letters}
    named |= {wanted.index(found) for found in texts.findall(answer)}
    if len(named) != 1 or DENIAL.search(texts.sub("", answer)):
        return None
    (index,) = named
    return index if index < len(options) else None


def _mention(options: Sequence[str]) -> re.Pattern[str]:
    """Matches any of the options as words of their own, the longest where several begin."""
    by_length = sorted(filter(None, options), key=len, reverse=True)
    either = "|".join(map(re.escape, by_length))
    return re.compile(
        rf"(?<![\w./-])(?<!\d[,:])(?:{either})(?![\w/]|[.,:]\d)" if either else r"(?!)"
    )


def _plain(text: str) -> str:
    """A text in lower case on one line, without quotes around it and stops behind it."""
    line = " ".join(text.split()).casefold()
    return line.strip(QUOTES).rstrip(STOPS).strip(QUOTES)


def whole_number(text: str) -> int | None:
    """The one whole number of an answer, up to nine ASCII digits; None for none or several.

    Words around it are free ("There are 7 cubes."), but nothing else may be numeric: not a
    decimal, a sum, a range, or a digit of another script.
    """
    words = {_bare(word) for word in text.split() if any(map(str.isnumeric, word))}
    if len(words) != 1:
        return None
    (word,) = words
    return int(word) if WHOLE_NUMBER.fullmatch(word) else None


def _bare(word: str) -> str:
    """A word without brackets and quotes around it and stops behind it."""
    around = QUOTES + "()[]"
    return word.strip(around).rstrip(STOPS).strip(around)
