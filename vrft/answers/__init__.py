"""Answers: the format that holds them, and the option or number that they name.

``contract`` finds the answer in a completion, ``choices`` and ``whole_numbers`` read it,
``assertions`` knows the words beside a thing by which a sentence does not assert it. An answer
passes one door before any parser reads it, ``vrft.wrapping``, which takes off what models wrap
around answers; the parsers read what is left strictly.

Every function takes time linear in the length of the text, whatever a model wrote: patterns have
possessive quantifiers (``\\s*+``) or bounded repeats, so that no match is tried twice.
"""

from vrft.answers.assertions import another_number, apart, denied
from vrft.answers.choices import QUOTES, STOPS, choice
from vrft.answers.contract import (
    TAGS,
    answer_text,
    follows_format,
    last_answer,
    last_line,
    legacy_answer,
    legacy_format,
    published_answer,
)
from vrft.answers.whole_numbers import whole_number

__all__ = [
    "QUOTES",
    "STOPS",
    "TAGS",
    "another_number",
    "answer_text",
    "apart",
    "choice",
    "denied",
    "follows_format",
    "last_answer",
    "last_line",
    "legacy_answer",
    "legacy_format",
    "published_answer",
    "whole_number",
]
