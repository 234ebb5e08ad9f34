"""Questions to math-verify: whether an answer means the same as the gold text, or finds an option.

A worker compares expressions, one pair at a time, within limits of processor time and memory at
which the system kills it; the next pair gets a fresh worker.
"""

from __future__ import annotations

from collections.abc import Sequence

from vrft.mathverify.rules import Rule
from vrft.mathverify.verdicts import verdict_on

SECONDS = 5.0
"""Processor time for reading the gold expression, and as much again for the answer.

Only the worker's own time counts, so that no score depends on how busy the machine is.
"""
LONGEST = 2**17
"""Characters of a full output in which an expression is searched for.

math-verify takes more than linear time: a megabyte would cost all of its 5 seconds, twice.
"""
LONGEST_RESULT = 2**13
"""Characters of a result that stands alone, such as the content of a box."""


def equivalent(
    gold: str, answer: str, rule: Rule = "boxed", seconds: float = SECONDS
) -> bool | None:
    """Return whether an answer means the same as the gold text; None for an unreadable gold text.

    An answer that cannot be read, or not within the limits of time, memory and length, is wrong,
    and so is one beyond the current ``budget``. The rules are

    - ``boxed``: both are bare LaTeX, such as the contents of a box; nothing is searched for. What
      math-verify calls equal up to rounding, up to a percent sign, or as a pair and a set, is told
      apart: 1.41421356 is not the root of 2, 18% is not 18, and (3,4) is not "3 and 4".
    - ``lighteval``: the answer is a full output, in which lighteval's settings for open-rs search
      for the expression; numbers are equal that agree to 5 decimals.
    - ``default``: both are full texts, searched by math-verify's own settings and compared the
      wrong way round, as in the published rewards of Visual-RFT and R1-V.
    """
    longest = LONGEST_RESULT if rule == "boxed" else LONGEST
    if len(gold) > longest:
        return None
    # An empty answer is wrong too, and the gold text is still read.
    answer = answer if len(answer) <= longest else ""
    return verdict_on(seconds, rule, gold, answer)


OPTION_SECONDS = 1.0
"""Processor time for finding an option in an answer, which takes milliseconds."""


def finds_option(
    forms: Sequence[str], answer: str, strings: Sequence[str], seconds: float = OPTION_SECONDS
) -> bool:
    """Return whether math-verify finds one of the ``forms`` of an option in an answer.

    It searches for LaTeX, for numbers and for all ``strings``, and the most certain find counts,
    as in the published evaluator of CV-Bench. An answer that exceeds the limits has none.
    """
    if len(answer) > LONGEST:
        return False
    return bool(verdict_on(seconds, "options", list(forms), [answer, *strings]))
