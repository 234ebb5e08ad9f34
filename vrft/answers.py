"""The format contract ``<think>reasoning</think><answer>answer</answer>`` and its readings.

An answer passes one door before any parser reads it, ``vrft.wrapping``, which takes off what models
wrap around answers; the parsers read what is left strictly.

Every function takes time linear in the length of the text, whatever a model wrote: patterns have
possessive quantifiers (``\\s*+``) or bounded repeats, so that no match is tried twice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from vrft.wrapping import bare, uncounted, unwrapped, without_stops, without_wordings

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONTRACT = re.compile(r"<think>(.*?)</think>\s*+<answer>(.*?)</answer>", re.DOTALL)
JUNCTION = re.compile(r"</think>\s*+<answer>")

# --- patterns of what an answer says

# The patterns for options match text that `_normalised` has put in lower case on one line.
QUOTES = "*`\"'“”‘’ "
STOPS = ".,;:!?"
OPENING_LETTER = re.compile(r"([a-z])([).:,](?= |$)|$)")
"""A letter that begins an answer and is followed by a stop, or is all of it: "b. below", "b".

A letter without a stop is an article: "a chair" does not mean option A.
"""
BRACKETED_LETTER = re.compile(r"[(\[]([a-z])[)\]]")
SEVERAL_LETTERS = re.compile(r"[a-z](?:(?: ?[,;/&] ?| )(?:and |or )?[a-z])++")
"""Letters in a row, none of which is the answer: "a, b", "a or b"."""

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
PHRASE = 40
"""Characters on either side whose words may set an option apart, or make another number of it."""
BESIDE = 4
"""Words on either side that decide whether a whole number does."""

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
HAN = r"[\u3400-\u9fff]"
BESIDE_HAN = re.compile(rf"(?<=[0-9])(?={HAN})|(?<={HAN})(?=[0-9])")
NO_COUNT = re.compile(
    r"[√π%^<>≤≥≈~±×÷\\]| [+] |\b(?:more|less|fewer|greater) than\b|\bat (?:least|most)\b"
    r"|\bor (?:more|less|fewer|so|thereabouts)\b"
    r"|\b(?:percent|hundred|thousand|million|billion|dozen|and a half)\b"
    r"|第 ?[0-9]|[0-9] ?(?:点|分之|[半多几余来])",
    re.IGNORECASE,
)
"""A sign that a number is a part of an expression, a bound, or an ordinal."""


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


# --- what an answer says


def choice(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the option that an answer names; None if it names none or several.

    An answer names an option

    - by being its text, in any case;
    - by its letter: alone, in brackets, or before a stop at the start ("B", "(b)", "B. below");
    - by its text within a sentence, where it is a word or number of its own.

    No option is read out of a longer number or expression, nor from a sentence with a "not" or
    another denial, nor from a bound or an estimate ("at least 5", "about 5"), nor from a letter
    beside another option's text.
    """
    wanted = [_normalised(unwrapped(option)) for option in options]
    # "The answer" may itself be an option, so that wordings come off in the second place.
    line = unwrapped(text)
    for answer in (_normalised(line), _normalised(without_wordings(line))):
        if answer and answer in wanted:
            return wanted.index(answer)
    if SEVERAL_LETTERS.fullmatch(answer):
        return None

    letters = BRACKETED_LETTER.findall(answer)
    if opening := OPENING_LETTER.match(answer):
        letters.append(opening[1])
        answer = answer[opening.end() :]
    named = {ord(letter) - ord("a") for letter in letters}
    # Mentions are removed, as a "not" inside an option ("not moving") denies nothing.
    mentioned, rest = _mentions(answer, wanted)
    named |= {wanted.index(option) for option in mentioned}
    if len(named) != 1:
        return None
    (index,) = named
    if index >= len(options) or DENIAL.search(rest):  # a letter may lie behind the last option's
        return None
    # Beside a number that is an option no other number may stand: "2 or 3" is no 2.
    number = not letters and not any(map(str.isalpha, wanted[index]))
    return None if number and any(map(str.isnumeric, rest)) else index


def _mentions(answer: str, wanted: Sequence[str]) -> tuple[set[str], str]:
    """Return the options that stand in an answer as words or numbers of their own, and the rest."""
    # The longest option first: "left" would match the beginning of "left by 30 degrees".
    by_length = sorted(filter(None, wanted), key=len, reverse=True)
    any_option = "|".join(map(re.escape, by_length)) or "(?!)"  # of no options nothing matches
    mentioned = set()
    pieces = []
    position = 0
    for mention in re.finditer(any_option, answer):
        start, end = mention.span()
        if _stands_alone(answer, start, end):
            mentioned.add(mention[0])
            pieces.append(answer[position:start])
            position = end
    return mentioned, " ".join([*pieces, answer[position:]])


def _stands_alone(answer: str, start: int, end: int) -> bool:
    """Return whether the option at a place of an answer is no part of a longer word or number.

    Nor may words beside it say that it is not meant, or that another number is.
    """
    option, following = answer[start:end], answer[end : end + 1]
    # "No way to tell" is no "no", but "No, it is below" is.
    if following not in STOPS and _is_denial(option):
        return False
    first, last = option[0].isalpha(), option[-1].isalpha()
    if following == "!" and option[-1].isdigit():  # a factorial
        return False
    before = answer[max(start - PHRASE, 0) : start]
    if (WORD_BEFORE if first else NUMBER_BEFORE).search(before[-NEIGHBOURHOOD:]):
        return False
    if (WORD_AFTER if last else NUMBER_AFTER).match(answer, end, end + PHRASE):
        return False
    phrases = _ending_phrases(before)
    if phrases and not SETTING_APART.isdisjoint(phrases):
        return False
    return first or not _makes_another(phrases, option, answer[end : end + PHRASE])


@functools.lru_cache(maxsize=1024)
def _is_denial(option: str) -> bool:
    """Return whether an option is itself a denial, such as "no"."""
    return DENIAL.fullmatch(option) is not None


def another_number(before: str, number: str, after: str) -> bool:
    """Return whether the words beside a number make another number, a bound or an estimate of it.

    An answer that asserts a number says it without these: "at least 7", "about 7", "minus 7", "half
    of 7" and "twelve 7" do not name 7, while "only 7", "exactly 7" and "seven (7)" do.
    """
    return _makes_another(_ending_phrases(before), number, after)


def _makes_another(phrases: Sequence[str], number: str, after: str) -> bool:
    """Return whether phrases before a number, or the text behind it, make another number of it."""
    for phrase in phrases:
        if phrase in MAKING_ANOTHER:
            return True
        if phrase in COUNTING and COUNTING[phrase] != _value(number):
            return True
    return ANOTHER_AFTER.match(after) is not None


def _ending_phrases(before: str) -> Sequence[str]:
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


def _value(number: str) -> int | None:
    """Return the value of a whole number in ASCII digits; None for any other text."""
    return int(number) if WHOLE_NUMBER.fullmatch(number) else None


def whole_number(text: str) -> int | None:
    """Return the only whole number of an answer, of up to nine ASCII digits; None otherwise.

    Words may surround the number ("There are 7 cubes."), but none of them may hold another digit,
    of any script, or deny the number. Decimals, sums, ranges, bounds and estimates are no whole
    numbers, nor is a number whose sign is a word.
    """
    answer = bare(text).replace("一共", " ")  # "in all", which holds the numeral for one
    if NO_COUNT.search(answer):
        return None
    around = QUOTES + "()[]"
    words = BESIDE_HAN.sub(" ", answer).split()
    # isnumeric also sees the digits of other scripts, so that they make an answer unreadable.
    numeric = {word for word in set(words) if any(map(str.isnumeric, word))}
    numbers = {without_stops(word.strip(around), STOPS).strip(around) for word in numeric}
    if len(numbers) != 1:
        return None
    (number,) = numbers
    places = [place for place, word in enumerate(words) if word in numeric]
    beside = {
        (
            " ".join(words[max(place - BESIDE, 0) : place]),
            " ".join(words[place + 1 : place + 1 + BESIDE]),
        )
        for place in places
    }
    if any(another_number(before, number, after) for before, after in beside):
        return None
    if denied(" ".join(words[: places[0]]), " ".join(words[places[-1] + 1 :])):
        return None
    return _value(number)


def apart(before: str) -> bool:
    """Return whether the last words before a thing set it apart from what is meant."""
    return not SETTING_APART.isdisjoint(_ending_phrases(before))


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


def _normalised(line: str) -> str:
    """Return a line in lower case, without quotes around it, stops behind it, a measure word."""
    line = line.casefold()
    # Stops lie inside quotes or outside: '"below".' and '"below."' are the same answer.
    line = without_stops(line.strip(QUOTES), STOPS).strip(QUOTES)
    return uncounted(re.sub(r" (?=%)", "", line))
