"""Questions with options: how the spatial task reads its rows, and how CV-Bench scores answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from vrft import answers, mathverify
from vrft.formats.option_letters import (
    LETTERS,
    check_letters,
    check_order,
    lists_options,
    without_letters,
)
from vrft.formats.options import check_count, check_named, counted
from vrft.records import Record
from vrft.types import Sample

GOLD_COLUMNS = ("answer", "correct_answer", "solution")


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of a question, and the index of the right one."""

    options: tuple[str, ...]
    right: int
    lettered: bool = False
    """Whether the options are asked by letters, as in CV-Bench; without them none is read."""
    source: str = ""
    """The collection that the picture is from, by which CV-Bench's official total weighs."""


def read_sample(row: Record, seed: int, option_index: int | None = None) -> Sample[Choice]:
    """Read one row of any of the schemas; ``seed`` draws the order of options without letters.

    ``option_index`` is the number of the first option where answers count them.
    """
    options = without_letters(row.texts("options", "choices", "answers"))
    written = row.value(*GOLD_COLUMNS)
    gold = row.text(*GOLD_COLUMNS)
    gold = answers.last_answer(gold) or gold
    if not 2 <= len(options) <= len(LETTERS) or not all(map(str.strip, options)):
        raise row.error(f"expected 2 to {len(LETTERS)} options, none empty; got {options!r:.80}")
    question = row.text("question", "prompt")
    check_letters(row, options)
    check_order(row, question, options)
    if option_index is not None:
        right = counted(row, gold, options, option_index)
    elif (index := answers.choice(gold, options)) is not None:
        right = index
        check_count(row, written, options, right)
        check_named(row, gold, options, right)
    else:
        remedy = "; if it counts them, set task.option_index=0 or 1, the number of the first"
        raise row.error(
            f"the answer {gold!r:.60} is none of the options {options!r:.80}"
            + (remedy if gold.isdecimal() else "")
        )
    # A letter as gold answer refers to the order, which must stay; unless "B" is itself an option.
    letter = gold.strip("(). ").upper()
    listed = lists_options(question, options)
    lettered = listed or letter in set(LETTERS) - {option.strip().upper() for option in options}
    if not lettered:
        # SAT lists the right option first. Drawn by row, the order is the same in every run.
        order = random.Random(f"{seed} {row.id}").sample(range(len(options)), len(options))
        # An option that stands twice is named by its text, which is the first one's.
        said, options = options[right], tuple(options[old] for old in order)
        right = options.index(said)
    choice = Choice(options, right, lettered, str(row.get("source") or ""))
    question = question if listed else ask(question, choice)
    subset = str(row.get("subset", "task", "question_type") or "")
    pictures = row.images("images", "image", "image_bytes")
    columns = row.for_rewards(gold if isinstance(written, str) else written)
    return Sample(row.id, question, choice, pictures, subset, columns)


def named(choice: Choice, index: int) -> str:
    """Return an option as it is answered: "(B)" where options have letters, else its text."""
    return f"({LETTERS[index]})" if choice.lettered else choice.options[index]


def ask(question: str, choice: Choice) -> str:
    """Return the question with its options, one a line, so that an option may hold commas."""
    marks = [f"({LETTERS[i]})" if choice.lettered else "-" for i in range(len(choice.options))]
    lines = [f"{mark} {option}" for mark, option in zip(marks, choice.options, strict=True)]
    return "\n".join([question, "Choose one of these options:", *lines])


def official(by_source: Mapping[str, float]) -> dict[str, float]:
    """Return CV-Bench's own totals from the accuracy on each source; {} without all three.

    2D is the mean of ADE20K and COCO, 3D is Omni3D, and the total is the mean of 2D and 3D.
    """
    if not {"ADE20K", "COCO", "Omni3D"} <= by_source.keys():
        return {}
    flat, deep = (by_source["ADE20K"] + by_source["COCO"]) / 2, by_source["Omni3D"]
    return {"official_2d": flat, "official_3d": deep, "official_total": (flat + deep) / 2}


def legacy_right(choice: Choice, text: str) -> bool:
    """Return whether the published evaluator counts an answer as right.

    The evaluator has math-verify look for LaTeX, for a number, and for a letter from A to F or an
    option, set apart by spaces: behind the word "answer", else at the start, else the last one
    anywhere. So "A chair" is option A, of "not above but below" it reads "below", and
    "\\boxed{2}" is the option "2".
    """
    letters = [form for c in "abcdef" for form in (c, c.upper(), f"({c})", f"({c.upper()})")]
    option, letter = choice.options[choice.right], LETTERS[choice.right]
    forms = [form for name in (option, letter, f"({letter})") for form in (name.lower(), name)]
    return mathverify.finds_option(forms, legacy_shown(text), [*letters, *choice.options])


def legacy_shown(text: str) -> str:
    """Return the text that the published evaluator reads: the first answer block of one line.

    Without such a block it reads the full text.
    """
    for head in text.split("</answer>")[:-1]:
        _, opened, answer = head.rpartition("<answer>")
        if opened and "\n" not in answer.strip():
            return answer.strip()
    return text
