"""Choices: which of several options an answer names, by its letter or by its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from vrft.answers.assertions import (
    DENIAL,
    PHRASE,
    SETTING_APART,
    ending_phrases,
    is_denial,
    makes_another,
)
from vrft.numbers.compounds import compact
from vrft.wrapping import uncounted, unwrapped, without_stops, without_wordings

QUOTES = "*`\"'“”‘’ "
STOPS = ".,;:!?"

LONGEST_SPELLED = 200
"""Characters of an answer that is compared with options in another spelling, too."""

# The patterns match text on one line, in lower case but for options that differ in case alone.
OPENING_LETTER = re.compile(r"([a-zA-Z])([).:,](?= |$|[\u3400-\u9fff])|$)")
"""A letter that begins an answer and is followed by a stop, or is all of it: "b. below", "b".

Chinese follows a stop without a space. A letter without a stop is an article: "a chair" does not
mean option A.
"""
CLOSE_LETTER = re.compile(r"([a-zA-Z])[).:,](?=\S)")
"""A letter whose stop may be followed by an option without a space: "b.below"."""
LETTER_OF_TEXT = re.compile(
    r"(?:[(\[][a-z][)\]][.:]?+|[a-z][).:]) ?+(?!(?:is|was)(?:n['’]?t)?\b|不[是对])"
)
"""A letter before what may be its option's text, not before what a sentence says of the letter."""
BRACKETED_LETTER = re.compile(r"[(\[]([a-zA-Z])[)\]]")
SEVERAL_LETTERS = re.compile(r"[a-zA-Z](?:(?: ?[,;/&] ?| )(?:and |or )?[a-zA-Z])++")
"""Letters in a row, none of which is the answer: "a, b", "a or b"."""

# An option that begins or ends as a number does may be a part of a longer number or expression.
WORD_BEFORE = re.compile(r"[\w./\\^+-]$|\d[,:]$")
WORD_AFTER = re.compile(r"[\w/\\^+-]|[.,:]\d")
NUMBER_BEFORE = re.compile(r"[\w./\\^%°|]$|\d[,:]$|[\w√^]\($|[-–+*/×÷·^√π=<>≤≥≠≈~±] ?$")
NUMBER_AFTER = re.compile(
    r"[\w/\\|…]|\.\.|[.,:]\d|[)\]]? ?[√π%^*/×÷·+=<>≤≥≠≈±\\]|[-–]| [-–] ?\d"
    r"| (?:percent|per cent|hundred|thousand|million|billion|dozen)\b"
)
NEIGHBOURHOOD = 2
"""Characters before an option that decide whether it stands alone."""


def choice(text: str, options: Sequence[str], lettered: bool = True) -> int | None:
    """Return the index of the option that an answer names; None if it names none or several.

    An answer names an option

    - by being its text, in any case, and with or without blanks beside digits and signs; in its
      own case where options differ in nothing else ("Tt", "TT"), and as it is written where they
      differ in stops or quotation marks alone;
    - by its letter: alone, in brackets, or before a stop at the start ("B", "(b)", "B. below");
    - by its text within a sentence, where it is a word or number of its own.

    No option is read out of a longer number or expression, nor from a sentence with a "not" or
    another denial, nor from a bound or an estimate ("at least 5", "about 5"), nor from a letter
    beside another option's text. Letters name nothing unless the options are ``lettered``. Where
    their texts are not known, all of them empty, a denial behind the letter that opens an answer
    is taken for a part of its option ("B. not moving").
    """
    written = [_on_one_line(option) for option in options]
    if (given := _on_one_line(text)) and given in written:
        return written.index(given)
    cased = _told_apart(written)
    wanted, twins = _folded(cased)
    # "The answer" may itself be an option, so that wordings come off in the second place.
    line = unwrapped(text)
    for answer in (_normalised(line), _normalised(without_wordings(line))):
        if twins and (index := _index(answer, cased)) is not None:
            return index
        answer = _folded_answer(answer, cased, twins)
        if (index := _index(answer, wanted)) is not None:
            return index
    if SEVERAL_LETTERS.fullmatch(answer):
        return None

    texts = tuple(filter(None, wanted))
    unknown = not any(written) and LETTER_OF_TEXT.match(answer) is not None
    opening = _opening_letter(answer, texts)
    answer = answer[opening.end() :] if opening else answer
    # Mentions are removed, as a "not" inside an option ("not moving") denies nothing.
    mentions, rest = _mentions(answer, texts)
    named = {wanted.index(option) for option in mentions}
    letters = _letters(answer, opening, mentions) if lettered else set()
    named |= {ord(letter.lower()) - ord("a") for letter in letters}
    if len(named) != 1:
        return None
    (index,) = named
    if index >= len(options):  # a letter may lie behind the last option's
        return None
    if not unknown and DENIAL.search(rest):
        return None
    # Beside a number that is an option no other number may stand: "2 or 3" is no 2.
    number = not letters and not any(map(str.isalpha, wanted[index]))
    return None if number and any(map(str.isnumeric, rest)) else index


def _on_one_line(text: str) -> str:
    """Return a text as it is written, its blanks and line breaks single blanks."""
    return " ".join(text.split())


def _told_apart(written: Sequence[str]) -> list[str]:
    """Return options in normal form; "" for those of which it leaves the same as of others.

    These are named as they are written alone, or by their letters.
    """
    forms = [_normalised(unwrapped(option)) for option in written]
    different = Counter(forms[written.index(option)] for option in set(written))
    return [form if different[form] == 1 else "" for form in forms]


def _folded(cased: Sequence[str]) -> tuple[list[str], set[str]]:
    """Return options in lower case but where they differ in case alone, and those in lower case."""
    folded = [option.casefold() for option in cased]
    different = Counter(option.casefold() for option in set(cased))
    twins = {option for option in folded if different[option] > 1}
    pairs = zip(cased, folded, strict=True)
    return [own if lower in twins else lower for own, lower in pairs], twins


def _folded_answer(answer: str, cased: Sequence[str], twins: set[str]) -> str:
    """Return an answer in lower case, but for the words of options that differ in case alone."""
    if not twins:
        return answer.casefold()
    # The longest option first: of "Tt x TT" the words are no options of their own.
    options = "|".join(map(re.escape, sorted(filter(None, cased), key=len, reverse=True)))
    pieces = re.split(rf"(?<!\w)((?i:{options}))(?!\w)", answer)
    return "".join(
        piece if place % 2 and piece.casefold() in twins else piece.casefold()
        for place, piece in enumerate(pieces)
    )


def _index(answer: str, wanted: Sequence[str]) -> int | None:
    """Return the index of the option that an answer is; None for none.

    2.5m is the option "2.5 m", unless two options differ in nothing but such a blank. A long answer
    is one as it is written alone.
    """
    if answer and answer in wanted:
        return wanted.index(answer)
    if not answer or len(answer) > LONGEST_SPELLED:
        return None
    spelled, said = [compact(option) for option in wanted], compact(answer)
    return spelled.index(said) if spelled.count(said) == 1 else None


def _opening_letter(answer: str, texts: tuple[str, ...]) -> re.Match[str] | None:
    """Return the letter with its stop that begins an answer; None where it begins otherwise."""
    close = CLOSE_LETTER.match(answer)
    if close and answer.startswith(texts, close.end()):
        return close
    return OPENING_LETTER.match(answer)


def _letters(answer: str, opening: re.Match[str] | None, mentions: Sequence[str]) -> set[str]:
    """Return the letters that name options: the opening one, and those in brackets.

    A letter within the text of an option that is mentioned, as in "f(x)", names none.
    """
    within = Counter(BRACKETED_LETTER.findall(" ".join(mentions)))
    bracketed = Counter(BRACKETED_LETTER.findall(answer)) - within
    return {*bracketed, *([opening[1]] if opening else ())}


def _mentions(answer: str, texts: Sequence[str]) -> tuple[list[str], str]:
    """Return the options that stand in an answer as words or numbers of their own, and the rest."""
    # The longest option first: "left" would match the beginning of "left by 30 degrees".
    by_length = sorted(texts, key=len, reverse=True)
    any_option = "|".join(map(re.escape, by_length)) or "(?!)"  # of no options nothing matches
    mentions = []
    pieces = []
    position = 0
    for mention in re.finditer(any_option, answer):
        start, end = mention.span()
        if _stands_alone(answer, start, end):
            mentions.append(mention[0])
            pieces.append(answer[position:start])
            position = end
    return mentions, " ".join([*pieces, answer[position:]])


def _stands_alone(answer: str, start: int, end: int) -> bool:
    """Return whether the option at a place of an answer is no part of a longer word or number.

    Nor may words beside it say that it is not meant, or that another number is.
    """
    option, following = answer[start:end], answer[end : end + 1]
    # "No way to tell" is no "no", but "No, it is below" is.
    if following not in STOPS and is_denial(option):
        return False
    first, last = option[0].isalpha(), option[-1].isalpha()
    if following == "!" and option[-1].isdigit():  # a factorial
        return False
    before = answer[max(start - PHRASE, 0) : start]
    if (WORD_BEFORE if first else NUMBER_BEFORE).search(before[-NEIGHBOURHOOD:]):
        return False
    if (WORD_AFTER if last else NUMBER_AFTER).match(answer, end, end + PHRASE):
        return False
    phrases = ending_phrases(before)
    if phrases and not SETTING_APART.isdisjoint(phrases):
        return False
    return first or not makes_another(phrases, option, answer[end : end + PHRASE])


def _normalised(line: str) -> str:
    """Return a line without quotes around it, stops behind it, a measure word."""
    # Stops lie inside quotes or outside: '"below".' and '"below."' are the same answer.
    line = without_stops(line.strip(QUOTES), STOPS).strip(QUOTES)
    return uncounted(re.sub(r" (?=%)", "", line))
