"""Turns and interleaved pictures: the stock processor's own reading, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import conversation, encoding, loading
from vrft.models.loaded import LoadedModel
from vrft.types import Prompt, Turn

IMAGE = {"type": "image"}
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"


def words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


TALK = (Turn("user", "This is <image>an owl."), Turn("assistant", "I see it."))

PROMPTS: list[tuple[Prompt, list[dict[str, Any]]]] = [
    # no place: pictures stand before the last turn's text, with and without earlier turns
    (
        Prompt("Which one?", ("a", "b"), "Look."),  # type: ignore[arg-type]
        [
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [IMAGE, IMAGE, words("Which one?")]},
        ],
    ),
    (
        Prompt("And now?", ("a",), turns=(Turn("user", "Hello."), Turn("assistant", "Yes?"))),  # type: ignore[arg-type]
        [
            {"role": "user", "content": [words("Hello.")]},
            {"role": "assistant", "content": [words("Yes?")]},
            {"role": "user", "content": [IMAGE, words("And now?")]},
        ],
    ),
    # a system text that is empty, and so not that of the model's template
    (
        Prompt("Which one?", ("a",), ""),  # type: ignore[arg-type]
        [
            {"role": "system", "content": ""},
            {"role": "user", "content": [IMAGE, words("Which one?")]},
        ],
    ),
    # at the beginning with LLaVA's line end, in the middle, at the end, two without words between
    (
        Prompt("<image>\nWhere is it?", ("a",)),  # type: ignore[arg-type]
        [{"role": "user", "content": [IMAGE, words("\nWhere is it?")]}],
    ),
    (
        Prompt("Is <image> like <image><image>", ("a", "b", "c")),  # type: ignore[arg-type]
        [
            {
                "role": "user",
                "content": [words("Is "), IMAGE, words(" like "), IMAGE, IMAGE],
            }
        ],
    ),
    # in an earlier turn and in the last; an assistant's turn may show a picture too
    (
        Prompt("Like <image>?", ("a", "b"), "Be brief.", "<think>", turns=TALK),  # type: ignore[arg-type]
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [words("This is "), IMAGE, words("an owl.")]},
            {"role": "assistant", "content": [words("I see it.")]},
            {"role": "user", "content": [words("Like "), IMAGE, words("?")]},
        ],
    ),
    (
        Prompt("Why?", ("a",), turns=(Turn("user", "Draw."), Turn("assistant", "Here: <image>"))),  # type: ignore[arg-type]
        [
            {"role": "user", "content": [words("Draw.")]},
            {"role": "assistant", "content": [words("Here: "), IMAGE]},
            {"role": "user", "content": [words("Why?")]},
        ],
    ),
]
"""Prompts, and the messages as transformers' documentation would write them by hand."""


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
@pytest.mark.parametrize(("prompt", "messages"), PROMPTS)
def test_interleaved_turns_are_what_the_stock_processor_makes_of_them(
    prompt: Prompt,
    messages: list[dict[str, Any]],
    family: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
) -> None:
    loaded = load_tiny(family)
    stock: Any = loaded.processor
    sizes = [(56, 84), (112, 56), (84, 84)]
    shown = [picture(*size, seed) for seed, size in enumerate(sizes[: len(prompt.images)])]
    encoded = encoding.encode(loaded, replace(prompt, images=tuple(shown)))
    text = stock.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = stock(text=[text + prompt.prefill], images=shown, return_tensors="pt")
    assert torch.equal(encoded.tokens, inputs["input_ids"][0])
    assert torch.equal(torch.as_tensor(encoded.pixels), inputs["pixel_values"])
    assert torch.equal(torch.as_tensor(encoded.grids), inputs["image_grid_thw"])
    positions, _ = loaded.core.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    assert torch.equal(encoded.positions, positions[:, 0])


def test_a_text_model_reads_turns_as_strings(load_tiny: Callable[..., LoadedModel]) -> None:
    loaded = load_tiny("qwen2")
    prompt = Prompt(
        "Why?", system="Be brief.", turns=(Turn("user", "Hi"), Turn("assistant", "Yes"))
    )
    assert conversation.chat_messages(prompt, has_vision=False) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Why?"},
    ]
    assert encoding.render(loaded.processor, prompt) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYes<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_raw_prompt_has_its_turns_and_pictures_as_they_stand(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    turns = (Turn("user", "User: <image> is an owl.\n"), Turn("assistant", "Assistant: Yes.\n"))
    prompt = Prompt("User: And <image>?\nAssistant:", (picture(), picture()), "Look.\n", " <think>",
                    raw=True, turns=turns)  # fmt: skip
    text = encoding.render(load_tiny("qwen2_vl").processor, prompt)
    assert text == (
        f"Look.\nUser: {SHOWN} is an owl.\nAssistant: Yes.\nUser: And {SHOWN}?\nAssistant: <think>"
    )
    # without a place, all pictures come first, as they always did
    (first, *_) = turns
    plain = replace(prompt, text="Q", turns=(replace(first, text="T "),))
    assert conversation.raw_text(plain) == f"{SHOWN}{SHOWN}Look.\nT Q <think>"


# --- refusals


REFUSED = [
    # more places than pictures, fewer, and places without any picture
    (Prompt("<image> or <image>?", ("a",)), "2 x <image> and 1 picture(s)"),  # type: ignore[arg-type]
    (Prompt("Is <image> it?", ("a", "b")), "1 x <image> and 2 picture(s)"),  # type: ignore[arg-type]
    (Prompt("Is <image> it?"), "1 x <image> and 0 picture(s)"),
    # those of earlier turns count
    (Prompt("<image>?", ("a",), turns=TALK), "2 x <image> and 1 picture(s)"),  # type: ignore[arg-type]
    # no places at all: nobody could say which picture stands there
    (Prompt("Where?", ("a",), system="See <image>."), "<image> in its system text"),  # type: ignore[arg-type]
    (Prompt("Where?", ("a",), prefill="<image>"), "<image> in its prefill"),  # type: ignore[arg-type]
    # half an emoji, as JSON spells it, in every part of a prompt
    (Prompt("Where? \ud83d"), r"half a character (\ud83d) in its question"),
    (Prompt("Where?", system="\ude00"), r"half a character (\ude00) in its system text"),
    (Prompt("Where?", turns=(Turn("user", "\udc80"),)), r"half a character (\udc80) in its turn 1"),
    # what the tokenizer would make a token of
    (Prompt("a<|im_end|>"), "the special token <|im_end|> in its question"),
    (Prompt("<|im_start|>system"), "the special token <|im_start|> in its question"),
    (Prompt("<|endoftext|>"), "the special token <|endoftext|> in its question"),
    (Prompt("<|video_pad|>"), "the special token <|video_pad|> in its question"),
    (Prompt("an <|image_pad|>", ("a",)), "the special token <|image_pad|> in its question"),  # type: ignore[arg-type]
    (Prompt("<|vision_start|>"), "the special token <|vision_start|> in its question"),
    (Prompt("?", system="<|vision_end|>"), "the special token <|vision_end|> in its system text"),
    (Prompt("?", turns=(Turn("user", "a"), Turn("assistant", "<|im_end|>"))), "in its turn 2"),
    (Prompt("?", prefill="<|vision_pad|>"), "the special token <|vision_pad|> in its prefill"),
    # pictures have no letters in a raw prompt either
    (Prompt("<|image_pad|>", raw=True), "the special token <|image_pad|> in its question"),
]


@pytest.mark.parametrize(("prompt", "said"), REFUSED)
def test_a_prompt_that_misleads_is_refused_in_one_line(
    prompt: Prompt, said: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    with pytest.raises(UserError) as caught:
        encoding.encode(load_tiny("qwen2_vl"), prompt)
    message = str(caught.value)
    assert said in message and "\n" not in message
    message.encode()  # a terminal can show it


@pytest.mark.parametrize(
    "prompt",
    [
        # Qwen's marks of objects and boxes are written into questions
        Prompt("Where is <|object_ref_start|>the owl<|object_ref_end|>?"),
        # pipes, and an emoji of two halves
        Prompt("Is |a|<|b|>c, or 2<x|y>1 <|? \U0001f600"),
        # a raw prompt may spell its own turns, as a chat template would
        Prompt("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n", raw=True),
        # another spelling is a word
        Prompt("Is <IMAGE> a tag, or <images>?"),
    ],
)
def test_what_only_looks_like_a_token_passes(
    prompt: Prompt, load_tiny: Callable[..., LoadedModel]
) -> None:
    encoding.encode(load_tiny("qwen2_vl"), prompt)


@pytest.mark.parametrize("raw", [False, True])
def test_a_place_for_a_picture_is_refused_by_a_model_that_reads_none(
    raw: bool, load_tiny: Callable[..., LoadedModel]
) -> None:
    for prompt in (Prompt("Is <image> it?", raw=raw), Prompt("It?", raw=raw, turns=TALK)):
        with pytest.raises(UserError, match="has <image>, but the model reads no pictures"):
            encoding.encode(load_tiny("qwen2"), prompt)


def test_a_chat_template_that_leaves_pictures_out_is_refused(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    loaded.processor.chat_template = (  # type: ignore[union-attr]
        "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}"
        "{% endfor %}"
    )
    with pytest.raises(UserError, match=r"chat template makes 0 x <\|image_pad\|> of 1 picture"):
        encoding.encode(loaded, Prompt("Where?", (picture(),)))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            None,
            r"the model has no chat template; copy .* by task\.style=base where the task has it",
        ),
        (
            "{{ raise_exception('roles must alternate') }}",
            r"refuses the turns \(user\): roles must",
        ),
        (
            "{% for m in messages %}{{ m.nothing.at_all }}{% endfor %}",
            r"refuses the turns \(user\)",
        ),
        # what jinja leaves to Python: types, numbers, a wrong statement, too long a range
        ("{{ 'a' + 1 }}", r"refuses the turns \(user\): can only concatenate str"),
        ("{{ 1 // 0 }}", r"refuses the turns \(user\): .*zero"),
        ("{% break %}", r"refuses the turns \(user\): 'break' outside loop"),
        ("{% for i in range(10**6) %}{% endfor %}", r"refuses the turns \(user\): Range too big"),
    ],
)
def test_a_chat_template_that_does_not_take_the_turns_is_named(
    template: str | None, said: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny("qwen2")
    loaded.tokenizer.chat_template = template
    with pytest.raises(UserError, match=said) as caught:
        encoding.encode(loaded, Prompt("Why?"))
    assert "\n" not in str(caught.value)
    encoding.encode(loaded, Prompt("Why?", raw=True))  # which needs none


def test_a_template_that_opens_the_thoughts_is_told_from_others(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    opened = encoding.encode(load_tiny("qwen3_5"), Prompt("Why?")).opened
    assert opened == "<think>\n"
    # Its thoughts are over, when it is asked for none.
    settled = load_tiny("qwen3_5", chat_template_kwargs={"enable_thinking": False})
    prompt = encoding.encode(settled, Prompt("Why?"))
    assert prompt.opened == ""
    assert settled.tokenizer.decode(prompt.tokens).endswith("<think>\n\n</think>\n\n")
    # Other templates open nothing; a transcript's own tag is for its task to read.
    plain = load_tiny("qwen2_vl")
    assert encoding.encode(plain, Prompt("Why?")).opened == ""
    assert encoding.encode(plain, Prompt("Why?", prefill="<think>", raw=True)).opened == ""


def test_arguments_of_the_template_are_saved_with_the_model(
    load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    given = {"enable_thinking": False}
    loaded = load_tiny("qwen3_5", chat_template_kwargs=given)
    loading.save_model(loaded, tmp_path / "final")
    stock = AutoTokenizer.from_pretrained(tmp_path / "final")
    messages = [{"role": "user", "content": "Why?"}]
    asked = partial(stock.apply_chat_template, messages, tokenize=False, add_generation_prompt=True)
    assert asked().endswith("</think>\n\n")
    assert asked(enable_thinking=True).endswith("<think>\n")  # a caller's own value counts
    # Loaded again with the same values, as by a run that goes on, the template stays.
    again = loading.load_model(
        ModelConfig(name=str(tmp_path / "final"), chat_template_kwargs=given), device="cpu"
    )
    assert again.processor.chat_template == loaded.processor.chat_template


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"enable_thinkin": False}, "enable_thinkin: the model's chat template reads no such"),
        ({"enable-thinking": False}, "enable-thinking: the model's chat template reads no such"),
        # variables that each call sets, so that a value of one's own would change nothing
        ({"messages": "none"}, "messages: every prompt gives this variable a value of its own"),
        ({"add_generation_prompt": False}, "add_generation_prompt: every prompt gives"),
        ({"eos_token": "."}, "eos_token: every prompt gives"),
        ({"enable_thinking": [1]}, "expected a text, a number, true or false, got [1]"),
        ({"enable_thinking": None}, "expected a text, a number, true or false, got None"),
        # numbers that a template cannot spell, and a text that no file takes
        ({"enable_thinking": float("nan")}, "expected a text, a number, true or false, got nan"),
        ({"enable_thinking": float("inf")}, "expected a text, a number, true or false, got inf"),
        ({"enable_thinking": "\ud83d"}, r"enable_thinking: half a character (\ud83d) is no text"),
    ],
)
def test_arguments_that_no_template_takes_are_refused(
    load_tiny: Callable[..., LoadedModel], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_tiny("qwen3_5", chat_template_kwargs=arguments)


@pytest.mark.parametrize(
    "value",
    [
        "\U0001f600 caf\u00e9",
        'a "quote", a \\ and\na line',
        "{{ '%}' }}",
        "it's",
        -1.5,
        10**30,
        True,
    ],
)
def test_a_template_reads_the_value_that_was_given(value: object) -> None:
    processor = SimpleNamespace(chat_template="{% if mark == given %}as given{% endif %}")
    conversation.give_arguments(processor, {"mark": value})
    assert jinja2.Template(processor.chat_template).render(given=value) == "as given"


# transformers leaves the files of a processor's further templates open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("family", ["qwen2", "qwen2_vl"])
def test_a_model_of_several_templates_is_asked_by_its_default_and_takes_no_arguments(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder(family), tmp_path / "model")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ documents }}")
    config = ModelConfig(name=str(folder))
    loaded = loading.load_model(config, device="cpu")
    assert set(loaded.processor.chat_template) == {"default", "rag"}  # type: ignore[arg-type]
    assert "<|im_start|>user\nWhy?" in encoding.render(loaded.processor, Prompt("Why?"))
    given = replace(config, chat_template_kwargs={"documents": "none"})
    with pytest.raises(UserError, match=r"several chat templates \(default, rag\)") as caught:
        loading.load_model(given, device="cpu")
    assert "\n" not in str(caught.value)
