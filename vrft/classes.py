"""Class names: lists of them with aliases, and which one of them an answer means.

Spelling is free in case, spaces and punctuation: "Desert Rose" means "desert-rose", "f a 18" means
"F/A-18". Every function is linear in the length of the text, whatever a model wrote.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vrft.errors import UserError

WORD = re.compile(r"[^\W_]+")

LONGEST_ANSWER = 1000
"""Characters; a text longer than this names no class."""

SHORTEST_KEY = 3
"""Letters and digits that a name needs to be found inside a longer answer."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes that an answer may name, in the order of their list.

    ``keys`` maps every spelling, reduced to its letters and digits, to the name of its class.
    """

    names: tuple[str, ...]
    keys: Mapping[str, str]

    @classmethod
    def parse(cls, lines: Iterable[str], where: str) -> ClassList:
        """One class a line as ``name | alias | alias``; empty lines count for nothing.

        UserError that names the line for a spelling without letters, or of two classes.
        """
        names: list[str] = []
        keys: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            spellings = [part.strip() for part in line.split("|")] if line.strip() else []
            for spelling in spellings:
                key = "".join(words(spelling))
                other = keys.setdefault(key, spellings[0])
                if not key or spellings[0] in names or other != spellings[0]:
                    meaning = f"names {other!r} already" if key else "names nothing"
                    raise UserError(f"{where}: line {number}: {spelling!r} {meaning}; correct it")
            names += spellings[:1]
        if not names:
            raise UserError(f"{where}: no classes; write one a line")
        return cls(tuple(names), keys)

    def named(self, text: str) -> str | None:
        """The class that the whole text names; None if it is none."""
        return self.keys.get("".join(words(text)))

    def nearest(self, text: str) -> str:
        """The name that is spelt most like a text, for messages."""
        return difflib.get_close_matches(text, self.names, n=1, cutoff=0)[0]

    def match(self, text: str) -> str | None:
        """The class that an answer means, None if it names none or several.

        The answer is a spelling of the class, or a phrase that holds spellings of no other class
        except within longer ones: "a tree mallow" is no mallow. Inside a phrase whole words
        count, and only spellings of at least three letters and digits.
        """
        if len(text) > LONGEST_ANSWER:
            return None
        said = words(text)
        whole = self.keys.get("".join(said))
        if whole is not None:
            return whole
        found = {name for _, _, name in outermost(self.spans(said))}
        return found.pop() if len(found) == 1 else None

    def spans(self, said: Sequence[str]) -> list[tuple[int, int, str]]:
        """Every (first word, word after the last, class) of a spelling among the words."""
        longest = max(map(len, self.keys))
        spans = []
        for start in range(len(said)):
            key = ""
            for stop in range(start, len(said)):
                key += said[stop]
                if len(key) > longest:
                    break
                if len(key) >= SHORTEST_KEY and key in self.keys:
                    spans.append((start, stop + 1, self.keys[key]))
        return spans


def words(text: str) -> list[str]:
    """The runs of letters and digits in a text, without regard to case."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def outermost(spans: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The spans that lie within no other one, in order."""
    kept: list[tuple[int, int, str]] = []
    reach = 0
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if span[1] > reach:
            kept.append(span)
            reach = span[1]
    return kept


def macro_accuracy(classes: Sequence[str], correct: Sequence[float]) -> float:
    """The mean over the classes of each one's mean, so that rare classes count as common ones.

    ``classes`` holds the true class of every answer, ``correct`` its score in [0, 1].
    """
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for name, score in zip(classes, correct, strict=True):
        scores[name].append(score)
    return sum(sum(of) / len(of) for of in scores.values()) / len(scores)
