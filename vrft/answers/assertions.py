"""Assertions: the words beside a thing or number by which a sentence does not assert it.

A denial says what the answer is not ("not above"), a phrase sets a thing apart ("far from the
chair"), and others make another number, a bound or an estimate of a number ("at least 7", "half of
7"). Denials are looked for in the clause of a thing, phrases directly before and behind it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

DENIAL = re.compile(
    # The first letters alone, so that most words are passed at a glance.
    r"\b(?=[acdefhimnorsuw])(?:not|never|neither|nor|cannot|none|no(?! doubt|\.)|except"
    r"|exclud(?:e|es|ed|ing)|hardly|scarcely"
    r"|(?<!no )(?<!without )(?<!beyond )(?<!any )(?<!a )doubt(?:s|ed|ful)?|unsure|uncertain"
    r"|incorrect(?:ly)?|wrong(?:ly)?|false(?:ly)?|untrue|mistaken|inaccurate"
    r"|unlike(?:ly)?|improbable|implausible|impossible|out of the question"
    r"|opposite|(?:any|every)thing but|all but|(?:other|rather) than|different from|instead of"
    r"|with the exception of|rul(?:e[sd]?|ing) out|eliminated|rejected|discarded"
    r"|(?:is|are|was|were|do|does|did|ca|could|would|should)nt)\b"
    r"|n['’]t\b|[不没非]|除了|无法|错误",
    re.IGNORECASE,
)
"""A word by which a sentence may say what the answer is not."""

SETTING_APART = {
    f"{words}{article}"
    for words in (
        *("without", "save for", "nowhere near", "than", "lack", "lacks", "lacking"),
        *("far from", "farther from", "farthest from", "further from", "furthest from"),
        *("away from", "apart from", "aside from"),
    )
    for article in ("", " the", " a", " an", " any")
} | {"远离"}
"""The phrases directly before a thing that is not meant: "far from the chair"."""

CLAUSE = re.compile(r"[.,;:!?](?= |$)|\band\b|(?<!thing )(?<!all )\bbut\b|但|而")
VERB = re.compile(
    r"(?:is|are|was|were|would be|can|could|does|do)(?:n['’]?t)?\b|[是并不]", re.IGNORECASE
)

PHRASE = 40
"""Characters on either side whose words may set an option apart, or make another number of it."""

COUNTS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
]
"""The whole numbers from 0 as words."""
MAKING_ANOTHER = {
    f"{words}{article}"
    for words in (
        *("than", "than or equal to", "at least", "at most", "up to", "close to", "over", "under"),
        *("above", "below", "beyond", "exceed", "exceeds", "exceeding", "between", "nearly"),
        *("almost", "about", "around", "roughly", "approximately", "approx", "approx.", "circa"),
        *(f"{m}{more}{stop}" for m in ("max", "min") for more in ("", "imum", "imum of")
          for stop in ("", ".")),
        *("minus", "negative", "twice", "double", "triple", "half", "log", "ln", "lg", "exp"),
        *("sqrt", "sin", "cos", "tan", "half of", "third of", "quarter of", "fraction of"),
        *("multiple of", "power of", "root of", "some of", "most of", "part of"),
        *("the square of", "the cube of"),
    )
    for article in ("", " the", " a")
} | {
    *("至少", "至多", "最少", "最多", "超过", "不到", "约", "大概", "大于"),
    *("多于", "少于", "小于", "将近", "接近", "负"),
}  # fmt: skip
"""The phrases before a number that make a bound, an estimate or another number of it."""
ANOTHER_AFTER = re.compile(
    r"[])]* ?(?:(?:or|and) (?:more|less|fewer|so|up|over|under|above|below|beyond|greater|larger"
    r"|higher|lower|smaller|thereabouts)|at (?:least|most)|plus|minus|squared|cubed|factorial"
    r"|divided by|to the power|(?:上下|左右|以[上下内]))(?![a-z])",
    re.IGNORECASE,
)
"""The words behind a number that do so: "7 or more"."""
COUNTING = {
    f"{count}{of}": value
    for value, count in enumerate(COUNTS)
    for of in ("", " of", " of the", " out of", " out of the")
}
"""Another number before a number, in words -> its value: "twelve 7", "two of the 7".

"Seven (7)" is one number.
"""

PHRASES = {*SETTING_APART, *MAKING_ANOTHER, *COUNTING}
LONGEST_PHRASE = max(map(len, PHRASES))
LAST_HAN = {phrase[-1] for phrase in PHRASES if not phrase.isascii()}
LAST_LETTERS = {phrase[-2:] for phrase in PHRASES if phrase.isascii()}
LAST_WORDS = {phrase.split()[-1] for phrase in PHRASES}
# One character more than the longest phrase has, to see whether a word begins there.
TAIL = LONGEST_PHRASE + 1
LAST_WORD = re.compile(r".*\b([a-z]+\.?)", re.DOTALL)
WORD_START = re.compile(r"\b[a-z]")
NO_PHRASE = re.compile(r".*[^a-z. ]", re.DOTALL)
"""A text up to its last character that no phrase has."""

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


@functools.lru_cache(maxsize=1024)
def is_denial(option: str) -> bool:
    """Return whether an option is itself a denial, such as "no"."""
    return DENIAL.fullmatch(option) is not None


def another_number(before: str, number: str, after: str) -> bool:
    """Return whether the words beside a number make another number, a bound or an estimate of it.

    An answer that asserts a number says it without these: "at least 7", "about 7", "minus 7", "half
    of 7" and "twelve 7" do not name 7, while "only 7", "exactly 7" and "seven (7)" do.
    """
    return makes_another(ending_phrases(before), number, after)


def makes_another(phrases: Sequence[str], number: str, after: str) -> bool:
    """Return whether phrases before a number, or the text behind it, make another number of it."""
    for phrase in phrases:
        if phrase in MAKING_ANOTHER:
            return True
        if phrase in COUNTING and COUNTING[phrase] != whole_value(number):
            return True
    return ANOTHER_AFTER.match(after) is not None


def ending_phrases(before: str) -> Sequence[str]:
    """Return the ends of a text that may be PHRASES, in lower case and without brackets behind.

    Each begins where a word does. Most texts end in a word that is the last one of no phrase.
    """
    tail = before.rstrip(" ([")[-TAIL:].lower()
    if tail[-1:] in LAST_HAN:
        return tail[-1:], tail[-2:]
    if tail[-2:] not in LAST_LETTERS:
        return ()
    last = LAST_WORD.fullmatch(tail)
    if last is None or last[1] not in LAST_WORDS:
        return ()
    other = NO_PHRASE.match(tail)
    starts = WORD_START.finditer(tail, other.end() if other else 0)
    return [tail[start.start() :] for start in starts]


def whole_value(number: str) -> int | None:
    """Return the value of a whole number in ASCII digits; None for any other text."""
    return int(number) if WHOLE_NUMBER.fullmatch(number) else None


def apart(before: str) -> bool:
    """Return whether the last words before a thing set it apart from what is meant."""
    return not SETTING_APART.isdisjoint(ending_phrases(before))


def denied(before: str, after: str) -> bool:
    """Return whether a sentence denies what stands between two parts of it.

    A denial is looked for in the clause before ("this is not a ...") and, where it goes on with a
    verb, in the clause behind ("... is wrong"): of "a rose, not a tulip" the rose is not denied.
    """
    told = False
    if after.lstrip()[:1].isalpha():  # a verb begins with a letter; most answers have none behind
        clause = CLAUSE.split(after, maxsplit=1)[0].strip()
        told = bool(VERB.match(clause) and DENIAL.search(clause))
    return told or apart(before[-PHRASE:]) or bool(DENIAL.search(CLAUSE.split(before)[-1]))
