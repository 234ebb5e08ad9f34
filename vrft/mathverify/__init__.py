"""Equality of mathematical expressions, judged by math-verify in other processes; public names."""

from vrft.mathverify.comparison import (
    LONGEST,
    LONGEST_RESULT,
    OPTION_SECONDS,
    SECONDS,
    equivalent,
    finds_option,
)
from vrft.mathverify.rules import FULL_STOP, Rule
from vrft.mathverify.verdicts import TimeBudget, budget, current, each, in_use, remembered
from vrft.mathverify.worker import close

__all__ = [
    "FULL_STOP",
    "LONGEST",
    "LONGEST_RESULT",
    "OPTION_SECONDS",
    "SECONDS",
    "Rule",
    "TimeBudget",
    "budget",
    "close",
    "current",
    "each",
    "equivalent",
    "finds_option",
    "in_use",
    "remembered",
]
