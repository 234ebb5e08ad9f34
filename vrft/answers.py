"""The format contract: ``<think>reasoning</think><answer>answer</answer>``, and what is read of it.

Every function is linear in the length of the text, whatever a model wrote.
"""

from __future__ import annotations

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONTRACT = re.compile(r"<think>(.*?)</think>\s*+<answer>(.*?)</answer>", re.DOTALL)
JUNCTION = re.compile(r"</think>\s*+<answer>")


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
