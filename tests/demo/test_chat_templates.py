"""Chat templates: what each family's makes of the same turns."""

from __future__ import annotations

from typing import Any

import pytest

from vrft.demo import chat_templates, tiny

PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
USER = f"<|im_start|>user\n{PICTURE}Find it.<|im_end|>\n"
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


def rendered(template: str, roles: tuple[str, ...], **options: Any) -> str:
    """Return turns as a template writes them, a picture in the user's."""
    content: dict[str, Any] = {
        "user": [{"type": "image"}, {"type": "text", "text": "Find it."}],
        "assistant": "Here.",
        "system": "Look.",
    }
    words: Any = tiny.tokenizer()
    messages = [{"role": role, "content": content[role]} for role in roles]
    options = {"add_generation_prompt": True, "chat_template": template, **options}
    return str(words.apply_chat_template(messages, tokenize=False, **options))


@pytest.mark.parametrize(
    ("template", "options", "expected"),
    [
        (chat_templates.QWEN2_VL, {}, f"{SYSTEM}{USER}<|im_start|>assistant\n"),
        # no system turn that nobody wrote
        (chat_templates.QWEN3_VL, {}, f"{USER}<|im_start|>assistant\n"),
        # the model's turn begins within its thoughts, or after empty ones
        (chat_templates.QWEN3_5, {}, f"{USER}<|im_start|>assistant\n<think>\n"),
        (
            chat_templates.QWEN3_5,
            {"enable_thinking": False},
            f"{USER}<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
    ],
)
def test_a_question_is_written_as_the_family_does(
    template: str, options: dict[str, Any], expected: str
) -> None:
    assert rendered(template, ("user",), **options) == expected


@pytest.mark.parametrize(
    "template", [chat_templates.QWEN2_VL, chat_templates.QWEN3_VL, chat_templates.QWEN3_5]
)
def test_turns_follow_each_other_with_the_given_system_text(template: str) -> None:
    text = rendered(template, ("system", "user", "assistant"), add_generation_prompt=False)
    system = "<|im_start|>system\nLook.<|im_end|>\n"
    assert text == f"{system}{USER}<|im_start|>assistant\nHere.<|im_end|>\n"
