"""Prompts as conversations: turns, the places of pictures in them, text that no prompt may hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vrft.errors import UserError
from vrft.models.families import IMAGE_TEXT, VISION_TOKENS
from vrft.models.template_trial import FAULTS
from vrft.types import PLACE, Prompt, Turn

TURN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""The special tokens that begin and end turns in all families' chat templates."""

SPECIAL = re.compile("|".join(map(re.escape, (*TURN_TOKENS, *VISION_TOKENS))))
"""Tokens that no prompt may spell: the tokenizer makes them of these letters wherever they stand.

Qwen's marks of boxes and objects are none of them, as its users write these into questions.
"""

MARK = re.compile(r"<[|｜][^<>|｜]*+[|｜]>")
"""A special token that frames turns, pictures, objects or boxes, as <|im_end|> does.

No text of an answer has any. Tags such as <answer> are not spelt so, whether special or not.
"""

GIVEN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})
"""Variables of a chat template that transformers sets in each call, beside the special tokens."""

VISION = re.compile("|".join(map(re.escape, VISION_TOKENS)))
OPENED = re.compile(r"<think>\s*\Z")
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair, as JSON's escapes can spell it; no tokenizer takes it."""


def chat_messages(prompt: Prompt, *, has_vision: bool) -> list[dict[str, Any]]:
    """Return a prompt as the messages of a chat template, its pictures in their places.

    Contents of turns are lists of pictures and texts with ``has_vision``; without, they are
    strings, as the chat templates of text models take no others.
    """
    messages: list[dict[str, Any]] = []
    # Without one, Qwen's templates put in "You are a helpful assistant."
    if prompt.system is not None:
        messages.append({"role": "system", "content": prompt.system})
    turns = [(turn.role, turn.text) for turn in prompt.turns]
    for role, text in [*turns, ("user", prompt.text)]:
        messages.append({"role": role, "content": parts(text) if has_vision else text})
    if prompt.images and not places(prompt):
        messages[-1]["content"] = [{"type": "image"}] * len(prompt.images) + parts(prompt.text)
    return messages


def parts(text: str) -> list[dict[str, str]]:
    """Return a turn's text as a chat template takes it, with a picture at each place."""
    words, *following = ({"type": "text", "text": piece} for piece in text.split(PLACE))
    return [words, *(part for after in following for part in ({"type": "image"}, after))]


def raw_text(prompt: Prompt) -> str:
    """Return a prompt as it stands without a chat template, pictures written as Qwen writes them.

    Turns follow each other without anything between them.
    """
    text = "".join([*(turn.text for turn in prompt.turns), prompt.text])
    pictures = "" if places(prompt) else IMAGE_TEXT * len(prompt.images)
    text = text.replace(PLACE, IMAGE_TEXT)
    return pictures + (prompt.system or "") + text + prompt.prefill


def places(prompt: Prompt) -> int:
    """Return how many places for pictures the turns of a prompt have."""
    return sum(text.count(PLACE) for text in (*(turn.text for turn in prompt.turns), prompt.text))


def check_prompt(prompt: Prompt, *, has_vision: bool = True) -> None:
    """Raise UserError, in one line with the prompt's first words, for a prompt that misleads.

    That is one with pictures or places for them where the model reads none, with places that are
    not as many as its pictures, or with a special token or half a character.
    """
    named = f"the prompt {prompt.text[:60]!r}"
    count, pictures = places(prompt), len(prompt.images)
    if pictures and not has_vision:
        raise UserError("the model reads no pictures; choose one of the Qwen-VL family")
    if count and not has_vision:
        raise UserError(f"{named} has {PLACE}, but the model reads no pictures; remove it from "
                        "the data, or choose one of the Qwen-VL family")  # fmt: skip
    if count and count != pictures:
        raise UserError(f"{named} has {count} x {PLACE} and {pictures} picture(s); write {PLACE} "
                        "once for each picture, or nowhere to show them first")  # fmt: skip
    others = {"system text": prompt.system or "", "prefill": prompt.prefill}
    for name, text in others.items():
        if PLACE in text:
            raise UserError(f"{named} has {PLACE} in its {name}, where it is no place of a "
                            "picture; put it into the question")  # fmt: skip
    # Without a chat template, whoever writes a prompt may write the marks of turns as well.
    special = VISION if prompt.raw else SPECIAL
    turns = {f"turn {number}": turn.text for number, turn in enumerate(prompt.turns, 1)}
    for name, text in (turns | {"question": prompt.text} | others).items():
        fault = unreadable(text, special)
        if fault:
            raise UserError(f"{named} has {fault} in its {name}; remove it from the data")


def check_answer(text: str) -> None:
    """Raise UserError for a true answer with a special token or half a character.

    No model can learn to write it, and no completion could say it.
    """
    if fault := unreadable(text):
        raise UserError(f"the answer {text[:60]!r} has {fault} in it; remove it from the data")


def unreadable(text: str, special: re.Pattern[str] = SPECIAL) -> str | None:
    """Return what in a text cannot be read as words, as a message names it; None for nothing."""
    half, token = HALF_CHARACTER.search(text), special.search(text)
    if half:
        return f"half a character ({ascii(half[0])[1:-1]})"
    return f"the special token {token[0]}" if token else None


def apply_template(
    processor: Any, messages: Sequence[Mapping[str, Any]], *, opened: bool = False
) -> str:
    """Return messages in the words of the model's chat template, the answer's turn ``opened``.

    Raises UserError where the model has no template, or one that refuses the messages. What a
    template may compute was limited when the model was loaded, by ``folders.check_template``.
    """
    if not processor.chat_template:
        raise UserError("the model has no chat template; copy chat_template.jinja from its chat "
                        "model, or ask a base model by task.style=base where the task has it, "
                        "in your own task by Prompt(raw=True)")  # fmt: skip
    try:
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
    except FAULTS as error:
        roles = ", ".join(message["role"] for message in messages)
        reason = " ".join(str(error).split())
        raise UserError(f"the model's chat template refuses the turns ({roles}): {reason}; write "
                        "them as it takes them")  from error  # fmt: skip
    return str(text)


def opened_thoughts(text: str) -> str:
    """Return the tag <think> at the end of a prompt, with its line end; empty where there is none.

    The chat templates of models that always think begin the answer with it.
    """
    match = OPENED.search(text)
    return match[0] if match else ""


def give_arguments(processor: Any, arguments: Mapping[str, Any]) -> None:
    """Give variables of a processor's chat template values, where a caller gives no other.

    They are written into the template itself, so that a saved model is asked as it was trained.
    Raises UserError for a variable that the template does not read or that every prompt sets, for
    a value that is no text, number or truth value, and for a model of several templates.
    """
    if not arguments:
        return
    template, lines = processor.chat_template or "", []
    if not isinstance(template, str):
        names = ", ".join(sorted(template))
        raise UserError(f"model.chat_template_kwargs: the model has several chat templates "
                        f"({names}), and values are written into one; leave it out, or keep "
                        "chat_template.jinja alone")  # fmt: skip
    tokenizer = getattr(processor, "tokenizer", processor)
    given = GIVEN | getattr(tokenizer, "special_tokens_map", {}).keys()
    for name, value in arguments.items():
        where = f"model.chat_template_kwargs.{name}"
        if name in given:
            raise UserError(f"{where}: every prompt gives this variable a value of its own; leave "
                            "it out")  # fmt: skip
        if not name.isidentifier() or not re.search(rf"\b{name}\b", template):
            raise UserError(f"{where}: the model's chat template reads no such variable; look into "
                            "its chat_template.jinja")  # fmt: skip
        # jinja has no words for NaN and infinity.
        finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, str | int | float | bool) or not finite:
            raise UserError(f"{where}: expected a text, a number, true or false, got {value!r:.60}")
        if isinstance(value, str) and HALF_CHARACTER.search(value):
            raise UserError(f"{where}: {unreadable(value)} is no text; write the whole character")
        # An escape of JSON's would be two halves of a character to jinja.
        written = json.dumps(value, ensure_ascii=False)
        lines.append(
            f"{{%- if {name} is not defined %}}{{%- set {name} = {written} %}}{{%- endif %}}"
        )
    opening = "".join(lines)
    if not template.startswith(opening):  # as a checkpoint's does when its run goes on
        processor.chat_template = opening + template


def end_of_turn(processor: Any) -> int | None:
    """Return the token with which a chat template ends the model's turns; None where none does.

    A base model's own settings often name another, and none of its chats would end.
    """
    said = "answer"
    asked = Prompt("", turns=(Turn("user", "?"), Turn("assistant", said)))
    messages = chat_messages(asked, has_vision=hasattr(processor, "image_processor"))[:2]
    try:
        text = apply_template(processor, messages)
    except UserError:
        return None  # prompts without a template need none, and others will say the same
    tokenizer = getattr(processor, "tokenizer", processor)
    following = tokenizer(text.rpartition(said)[2], add_special_tokens=False)["input_ids"]
    known = tokenizer.added_tokens_decoder
    # A template may go on with words or a line end, which end nothing.
    return following[0] if following and following[0] in known else None
