"""Class names: lists of names with their aliases, and the class that an answer means.

Spelling is free in case, spaces and punctuation: "Desert Rose" means "desert-rose", "f a 18" means
"F/A-18". Every function takes time linear in the length of the text, whatever a model wrote.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vrft import answers, wrapping
from vrft.errors import UserError

WORD = re.compile(r"[^\W_]+")  # \w without the underscore, which separates words in file names

LONGEST_ANSWER = 1000
"""Characters; a longer text names no class."""

SHORTEST_KEY = 3
"""Letters and digits of a spelling that may be mentioned within a longer answer."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes that an answer may name, in the order of their list."""

    names: tuple[str, ...]
    keys: Mapping[str, str]
    """Spelling, reduced to its letters and digits -> name of its class."""

    @classmethod
    def parse(cls, lines: Iterable[str], where: str) -> ClassList:
        """Read one class from each line ``name | alias | alias``; empty lines are skipped.

        Raises UserError that names the line for a spelling without letters and digits, or of two
        classes.
        """
        names: list[str] = []
        keys: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            spellings = [part.strip() for part in line.split("|")] if line.strip() else []
            for spelling in spellings:
                key = "".join(words(spelling))
                # An alias may repeat a spelling of its own class, but not of another one.
                other = keys.setdefault(key, spellings[0])
                if not key or spellings[0] in names or other != spellings[0]:
                    meaning = f"names {other!r} already" if key else "names nothing"
                    raise UserError(f"{where}: line {number}: {spelling!r} {meaning}; correct it")
            names += spellings[:1]
        if not names:
            raise UserError(f"{where}: no classes; write one a line")
        return cls(tuple(names), keys)

    def named(self, text: str) -> str | None:
        """Return the class of which the text, taken as a unit, is a spelling; None if of none."""
        return self.keys.get("".join(words(text)))

    def nearest(self, text: str) -> str:
        """Return the name that is spelt most like the text, for error messages."""
        return difflib.get_close_matches(text, self.names, n=1, cutoff=0)[0]

    def match(self, text: str) -> str | None:
        """Return the class that an answer means; None if it names none or several.

        The answer is a spelling of the class, or a phrase that mentions spellings of this class
        alone and denies none of them: "this is not a mallow" names nothing. A spelling within a
        longer one is no mention: "a tree mallow" is no mallow. Mentions are made of complete words
        and have at least three letters and digits.
        """
        if len(text) > LONGEST_ANSWER:
            return None
        line = wrapping.uncounted(wrapping.bare(text))
        # A class may be called as an answer is worded: the text is tried as it is, too.
        for spelling in (text, line):
            if name := self.named(spelling):
                return name
        places = [match.span() for match in WORD.finditer(normalised(line))]
        mentions = outermost(self.spans(words(line)))
        mentioned = {name for _, _, name in mentions}
        if len(mentioned) != 1:
            return None
        for first, stop, _ in mentions:
            start, end = places[first][0], places[stop - 1][1]
            if answers.denied(normalised(line)[:start], normalised(line)[end:]):
                return None
        return mentioned.pop()

    def spans(self, said: Sequence[str]) -> list[tuple[int, int, str]]:
        """Return (first word, word after the last, class) of every spelling among the words."""
        longest = max(map(len, self.keys))
        spans = []
        for start in range(len(said)):
            key = ""
            for stop in range(start, len(said)):
                key += said[stop]
                if len(key) > longest:  # bounds the inner loop: the search stays linear
                    break
                if len(key) >= SHORTEST_KEY and key in self.keys:
                    spans.append((start, stop + 1, self.keys[key]))
        return spans


def words(text: str) -> list[str]:
    """Return the runs of letters and digits in a text, in lower case."""
    return WORD.findall(normalised(text))


def normalised(text: str) -> str:
    """Return a text in lower case, with compatible characters united.

    These are full-width letters, ligatures, and letters with their accents.
    """
    return unicodedata.normalize("NFKC", text).casefold()


def outermost(spans: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return the spans that lie within no other span, in order."""
    outer: list[tuple[int, int, str]] = []
    reach = 0
    # Of spans with the same start the longest comes first, so that the others lie within its reach.
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if span[1] > reach:
            outer.append(span)
            reach = span[1]
    return outer


def macro_accuracy(classes: Sequence[str], correct: Sequence[float]) -> float:
    """Return the mean over classes of each class's mean, in which rare and common ones weigh alike.

    ``classes`` holds the true class of every answer, ``correct`` the score of the answer in [0, 1].
    """
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for name, score in zip(classes, correct, strict=True):
        scores[name].append(score)
    return sum(sum(values) / len(values) for values in scores.values()) / len(scores)
