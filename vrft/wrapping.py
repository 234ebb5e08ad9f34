"""The wrapping of an answer: what models put around it, and the one door at which it comes off.

An answer passes ``bare`` before any parser reads it: boxes, emphasis, quotation marks and wordings
such as "So the answer is" are taken off there, and the parsers read what is left strictly.

Every function takes time linear in the length of the text, whatever a model wrote: patterns have
possessive quantifiers (``\\s*+``) or bounded repeats, so that no match is tried twice.
"""

from __future__ import annotations

import re
import unicodedata

# Full-width ASCII lies 0xFEE0 behind ASCII. Marks of other scripts become those that mean the same,
# every hyphen and minus but the dash becomes "-", and characters of no width vanish.
LOOKS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | str.maketrans(
    "\u3000。、【】〔〕「」『』《》−‐‑﹣",
    ' .,[][]""""""----',
    "\u200b\u200c\u200d\u2060\ufeff",
)

BRACES = re.compile(
    r"\\(?:boxed|fbox|mbox|emph|text(?:bf|it|rm|normal)?|math(?:rm|bf|it))\s*+\{|\\.|[{}]",
    re.DOTALL,
)
"""A command that only frames its content, or any escaped character, or a brace."""

LATEX = (
    (r"\^\s*+\{\s*+(?:\\circ|o)\s*+\}|\^\s*+(?:\\circ|o\b|[°˚º])|\\circ|\\degree|[˚º]", "°"),
    (r"\\[()\[\]]|\\?\$", " "),
    (r"\\(?:left|right)(?![a-zA-Z])|\\displaystyle(?![a-zA-Z])", ""),
    (r"\\q?quad(?![a-zA-Z])|\\[,;!: ]", " "),
    (r"\\%", "%"),
)
"""(pattern, sign): the delimiters, spaces, degrees and percents of LaTeX, in this order."""

# Emphasis ends in the line and at the edge of a word: the stars of "3*4*5" are products.
EMPHASIS = re.compile(
    r"(?<![\w*\\)\]}°])(\*{1,3})(?=[^\s*])([^*\n]{1,300}+)(?<=\S)\1(?![\w*])"
    r"|(?<!\w)(__)(?=[^\s_])((?:[^_\n]|_(?!_)){1,300}+)(?<=\S)__(?!\w)"
)
FENCE = re.compile(
    r"```(?:(?:json|python|text|txt|plaintext|latex|math|markdown)\b)?", re.IGNORECASE
)
HEADING = re.compile(r"#{1,6} ")
SPACED_STOP = re.compile(r" (?=[.,;:](?: |$))")
PAIRS = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
"""Opening quotation mark -> the closing one."""

LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore|finally|and|then),? )?(?:the |my )?"
    r"(?:(?:correct|right|final|best) ){0,2}(?:answer|option|choice|result)"
    r"(?: (?:is|would be|should be|must be))?(?: ?: ?| )(?=\S)"
    r"|i (?:would )?(?:choose|pick|select|go with) (?=\S)"
    r"|(?:所以|因此|故|综上)?[,:]? ?(?:正确|最终|最后)?的?(?:答案|选项|结果)"
    r"(?:应该?)?[是为选]? ?:? ?(?=\S)"
    r"|(?:所以|因此|故)?应?选择? ?:? ?(?=[a-z(\[])",
    re.IGNORECASE,
)
"""The words before an answer: "So the answer is: ", "option ", "答案:"."""
ENDING = re.compile(
    r" (?:is|would be) (?:correct|(?:the )?(?:(?:correct|right|final|best) )?"
    r"(?:answer|option|choice|result)|the (?:correct|best) one)$"
    r"|(?<=^[a-z]) is right$"
    r"| ?[是为](?:正确|最终)的?(?:答案|选项)?$",
    re.IGNORECASE,
)
"""The words behind an answer: " is the correct answer".

"Right" alone is one of them only behind a letter, for "the cup is right" answers with a side.
"""
MOST_WORDINGS = 4
"""Wordings around each other that are taken off: "So the answer is option"."""

MOST_MARKS = 6
"""Marks around each other that are taken off: fences, quotation marks, stops."""

GOES_ON = re.compile(r"[0-9]\.[0-9]+$")
"""The end of a decimal, which dots behind it go on with: "3.14..." is no 3.14."""
LONGEST_TAIL = 24
"""Characters at the end of a line in which a decimal is looked for."""

COUNTER = re.compile(r"([+-]?[0-9]+) ?[个只条张辆块件朵头匹本台座棵]")
"""A whole number with a Chinese measure word, which says no more than the number."""


def bare(text: str) -> str:
    """Return an answer on one line, without what models wrap around answers.

    Taken off are LaTeX's boxes, texts and dollar signs, emphasis, code fences, quotation marks,
    stops at the end, and wordings such as "So the answer is ..." or "... is the correct answer", in
    English and Chinese. Full-width characters become ASCII. What is left is never changed.
    """
    return without_wordings(unwrapped(text))


def without_wordings(answer: str) -> str:
    """Return an unwrapped answer without the words around it, such as "So the answer is ..."."""
    for _ in range(MOST_WORDINGS):
        start = LEAD_IN.match(answer)
        shorter = answer[start.end() :] if start else answer
        if ending := ENDING.search(shorter):
            shorter = shorter[: ending.start()]
        if shorter == answer or not shorter.strip():
            break
        answer = _stripped(shorter)
    return answer


def unwrapped(text: str) -> str:
    """Return a text on one line without the marks around it; wordings stay as they are."""
    text = _without_frames(unified(text).strip())
    for pattern, sign in LATEX:
        text = re.sub(pattern, sign, text)
    text = EMPHASIS.sub(lambda match: match[2] or match[4], text)
    return _stripped(" ".join(text.split()))


def unified(text: str) -> str:
    """Return a text whose full-width characters, minus signs and Chinese stops are ASCII.

    Letters with accents are single characters, which some systems write as two.
    """
    return unicodedata.normalize("NFC", text).translate(LOOKS)


def _without_frames(text: str) -> str:
    """Return a text without the commands that frame a part of it, as \\boxed{7} frames 7.

    A text with a frame that stays open is returned as it is: it was cut off.
    """
    pieces: list[str] = []
    frames: list[bool] = []  # of every open brace, whether it belongs to a frame
    position = 0
    for match in BRACES.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        opens = match[0].endswith("{") and match[0] != "\\{"
        framed = opens and len(match[0]) > 1
        if opens:
            frames.append(framed)
        elif match[0] == "}" and frames:
            framed = frames.pop()
        # A space for the frame: two boxes beside each other hold two numbers.
        pieces.append(" " if framed else match[0])
    return text if any(frames) else "".join([*pieces, text[position:]])


def _stripped(line: str) -> str:
    """Return a line without fences, heading marks, pairs of quotation marks and final stops."""
    line = SPACED_STOP.sub("", line).strip()
    for _ in range(MOST_MARKS):
        before, line = line, without_stops(line, ".,;: ")
        if len(line) > 6 and (fence := FENCE.match(line)) and line.endswith("```"):
            line = line[fence.end() : -3].strip()
        if heading := HEADING.match(line):
            line = line[heading.end() :]
        if len(line) > 1 and PAIRS.get(line[0]) == line[-1]:
            line = line[1:-1].strip()
        if line == before:
            break
    return line


def without_stops(line: str, stops: str) -> str:
    """Return a line without the stops at its end, but for those that are a part of a number.

    The exclamation mark of "5!" is a factorial, and a decimal with dots behind it goes on.
    """
    shorter = line.rstrip(stops)
    tail = line[len(shorter) :]
    if tail.startswith("!") and shorter[-1:].isdigit():
        return f"{shorter}!"
    if tail.startswith("..") and GOES_ON.search(shorter[-LONGEST_TAIL:]):
        return f"{shorter}..."
    return shorter


def uncounted(text: str) -> str:
    """Return the number of a number with a Chinese measure word (7个); any other text unchanged."""
    counted = COUNTER.fullmatch(text)
    return counted[1] if counted else text
