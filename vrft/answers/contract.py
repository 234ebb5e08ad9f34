"""The format contract ``<think>reasoning</think><answer>answer</answer>`` and its readings.

Beside the strict reading stand the lenient one and the published ones, each in linear time.
"""

from __future__ import annotations

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONTRACT = re.compile(r"<think>(.*?)</think>\s*+<answer>(.*?)</answer>", re.DOTALL)
JUNCTION = re.compile(r"</think>\s*+<answer>")


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


def published_answer(text: str) -> str:
    """Return the answer of a text as data sets publish it, stripped.

    That is its last answer block, else the line ``#### 7`` in which a derivation of GSM8K ends,
    else what follows thoughts at its beginning, else all of it.
    """
    if (marked := last_answer(text) or last_line(text)) is not None:
        return marked
    _, thought, rest = text.strip().partition("</think>")
    if thought and rest.strip() and text.lstrip().startswith("<think>"):
        return rest.strip()
    return text.strip()


def last_line(text: str) -> str | None:
    """Return what follows ``####`` in the last line, if that begins so, stripped; else None."""
    _, marks, result = text.strip().rpartition("\n####")
    return result.strip() or None if marks and "\n" not in result else None


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
