"""Prompts for base models, which have no chat template: a transcript that the model goes on with.

    <system text>
    <introduction, which says how the assistant answers>
    User: <an earlier question>
    Assistant: <its answer>
    User: <the question>
    Assistant: <the beginning of an answer> <think>

The last tag is the prefill of the prompt. A completion begins behind it, and is read with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vrft import answers
from vrft.errors import UserError
from vrft.types import PLACE, Completion, Prompt, Turn

if TYPE_CHECKING:
    from PIL import Image

Style = Literal["chat", "base"]
"""The setting ``task.style``: a prompt in the chat template, or a transcript for a base model."""

OPENING = "<think>"
"""The end of a base model's prompt, from which it continues."""

SPEAKERS = {"user": "User", "assistant": "Assistant"}
LONGEST = 800
"""Characters of a transcript that are shown in one line; it begins with its introduction."""


def base_prompt(
    template: str,
    words: Mapping[str, str],
    question: str,
    *,
    images: Sequence[Path | Image.Image] = (),
    system: str | None = None,
    turns: Sequence[Turn] = (),
) -> Prompt:
    """Return a transcript as a prompt without a chat template, which opens the answer's <think>.

    {question}, {turns} and each {name} of ``words`` are replaced in the template; braces in what is
    put in stay. A system text stands before it on a line of its own. Pictures without a place in
    template, turns or question stand before the question. Raises UserError for earlier turns
    without a {turns} in the template.
    """
    if turns and "{turns}" not in template:
        raise UserError(
            f"the question {question[:60]!r} has earlier turns, for which task.template has no "
            "place; write {turns} where they belong"
        )
    earlier = "".join(f"{SPEAKERS[turn.role]}: {turn.text}\n" for turn in turns)
    if images and not any(PLACE in text for text in (template, earlier, question)):
        question = PLACE * len(images) + question
    text = filled(template, {**words, "turns": earlier}, question)
    before = f"{system}\n" if system else None
    return Prompt(text, tuple(images), before, OPENING, raw=True)


def filled(template: str, words: Mapping[str, str], question: str) -> str:
    """Return a template with its {question} and each {name} of ``words`` replaced."""
    given = {**words, "question": question}
    # In one pass: a question may hold the name of a placeholder in braces.
    names = "|".join(map(re.escape, given))
    return re.sub(rf"\{{({names})\}}", lambda match: given[match[1]], template)


def full_text(style: Style, completion: Completion) -> str:
    """Return a completion as it is read: behind the tag that a base model's prompt has opened.

    A completion that opens its own, as a reference answer does, stays as it is.
    """
    text = completion.text
    return text if style == "chat" or text.startswith(OPENING) else OPENING + text


def format_reward(style: Style, completion: Completion) -> float:
    """Return 1 for an answer that keeps the think-and-answer contract exactly, else 0.

    A base model's is read behind the tag that its prompt has opened.
    """
    return float(answers.follows_format(full_text(style, completion)))


def beginning(prompt: Prompt) -> str:
    """Return how a prompt begins, quoted on one line, for the line that says how data are read.

    Of a chat that is the user's text; of a transcript all that the model reads. Three dots stand
    for what is left out at the end.
    """
    if not prompt.raw:
        return cut(repr(prompt.text), 200)
    return cut(repr((prompt.system or "") + prompt.text + prompt.prefill), LONGEST)


def cut(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters, with three dots for those left out."""
    return text if len(text) <= length else text[: length - 3] + "..."
