"""Lessons and the batches of them: what is in a batch, what is learnt, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from vrft.errors import UserError
from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.sft.lessons import IGNORED, Collator, Lesson
from vrft.sft.shares import EMPTY
from vrft.types import Prompt, Turn, View

Load = Callable[..., LoadedModel]
Picture = Callable[..., Image.Image]


TURNS = (Turn("user", "This is <image>the key."), Turn("assistant", "Yes."))


def lessons(family: str, picture: Picture) -> list[Lesson]:
    """Prompts with one picture, two of other sizes, and none; answers of other lengths."""
    if family == "qwen2":
        return [Lesson(Prompt("Where?"), lambda views: "(20,40)"), Lesson(Prompt("Find it."), str)]
    return [
        Lesson(Prompt("Where is it?", (picture(56, 84),)), lambda views: "(20,40),(60,80)"),
        Lesson(Prompt("Where?", (picture(112, 56, 1), picture(84, 140, 2))), lambda views: "here"),
        Lesson(Prompt("No picture.", system="Be brief."), lambda views: ""),
        Lesson(
            Prompt("And <image>?", (picture(56, 84), picture(84, 56)), turns=TURNS),
            lambda views: "an owl",
        ),
    ]


def batch_of(loaded: LoadedModel, made: list[Lesson]) -> dict[str, torch.Tensor]:
    return Collator(loaded, made, None)([{"row": row} for row in range(len(made))])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_a_batch_is_the_one_that_the_models_own_processor_makes(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    """Of prompts and answers in one text, all rows in one call."""
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    views = [encoding.encode(loaded, lesson.prompt).views for lesson in made]
    texts = [
        encoding.render(loaded.processor, lesson.prompt) + lesson.answer(seen) + "<|im_end|>"
        for lesson, seen in zip(made, views, strict=True)
    ]
    images = [image for lesson in made for image in lesson.prompt.images]
    options: dict[str, Any] = {"images": images} if images else {}
    stock = loaded.processor(
        text=texts, padding=True, padding_side="right", return_tensors="pt", **options
    )
    assert batch.keys() == {*stock, "labels"}
    for name in stock:
        assert torch.equal(batch[name], stock[name]), name


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_labels_are_the_answers_with_their_end(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    for row, lesson in enumerate(made):
        prompt = encoding.encode(loaded, lesson.prompt)
        start, end = len(prompt.tokens), int(batch["attention_mask"][row].sum())
        answer = [int(token) for token in batch["labels"][row, start:end]]
        assert loaded.tokenizer.decode(answer) == f"{lesson.answer(prompt.views)}<|im_end|>"
        assert answer == batch["input_ids"][row, start:end].tolist()
        assert (batch["labels"][row, :start] == IGNORED).all()
        assert (batch["labels"][row, end:] == IGNORED).all()


def test_a_picture_is_prepared_once_for_all_epochs(
    load_tiny: Load, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen2_vl")
    made = lessons("qwen2_vl", picture)
    first = batch_of(loaded, made)
    monkeypatch.setattr(encoding, "open_image", lambda source: 1 / 0)
    second = batch_of(loaded, made)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_loss_is_that_of_the_answers_log_probabilities(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    """Against the trainer's shared-prefix log-probabilities of the same tokens."""
    loaded = load_tiny(family)
    made = lessons(family, picture)
    batch = batch_of(loaded, made)
    with torch.no_grad():
        loss = loaded.core(**batch, use_cache=False).loss
        encoded = [encoding.encode(loaded, lesson.prompt) for lesson in made]
        answers = [[[int(t) for t in row[row != IGNORED]]] for row in batch["labels"]]
        logps = GroupLogps(loaded)(encoded, answers, 1.0)
    count = sum(len(answer) for (answer,) in answers)
    assert loss.item() == pytest.approx(-logps.sum().item() / count, rel=1e-5)


def test_an_answer_is_made_for_the_views_of_its_own_pictures(
    load_tiny: Load, picture: Picture
) -> None:
    loaded = load_tiny("qwen2_5_vl")
    seen: list[tuple[View, ...]] = []

    def answer(views: tuple[View, ...]) -> str:
        seen.append(views)
        return "yes"

    one, two = picture(56, 84), picture(84, 56)
    batch_of(loaded, [Lesson(Prompt("?", images), answer) for images in ((one,), (), (two, one))])
    tall, wide = View(56, 84, "pixels"), View(84, 56, "pixels")
    assert seen == [(tall,), (), (wide, tall)]


def test_what_the_prompt_opens_is_not_learnt_again(load_tiny: Load) -> None:
    loaded = load_tiny("qwen2")
    prompt = Prompt("Where?", prefill="<think>")
    batch = batch_of(loaded, [Lesson(prompt, lambda views: "<think>the owl</think>")])
    learnt = batch["labels"][0]
    assert loaded.tokenizer.decode(learnt[learnt != IGNORED]) == "the owl</think><|im_end|>"
    assert str(loaded.tokenizer.decode(batch["input_ids"][0])).endswith(
        "<think>the owl</think><|im_end|>"
    )


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        # the same line as in training by reward
        ("an <|image_pad|>", "", r"the prompt 'an <\|image_pad\|>' has the special token"),
        ("half \ud83d", "", r"half a character \(\\ud83d\) in its question"),
        # an answer that ends in its middle, and one that no tokenizer takes
        ("Where?", "here<|im_end|>there", r"the answer 'here.*' has the special token <\|im_end"),
        ("Where?", "half \ude00", r"half a character \(\\ude00\) in it"),
    ],
)
def test_letters_that_are_no_words_are_refused(
    question: str, answer: str, said: str, load_tiny: Load
) -> None:
    with pytest.raises(UserError, match=said):
        batch_of(load_tiny("qwen2_vl"), [Lesson(Prompt(question), lambda views: answer)])


def test_a_prompt_over_the_limit_is_refused(load_tiny: Load, picture: Picture) -> None:
    loaded = load_tiny("qwen2_vl")
    made = [Lesson(Prompt("Where?", (picture(112, 112),)), str)]
    length = len(encoding.encode(loaded, made[0].prompt).tokens)
    Collator(loaded, made, length)([{"row": 0}])
    with pytest.raises(UserError, match="max_prompt_length"):
        Collator(loaded, made, length - 1)([{"row": 0}])


@pytest.mark.parametrize("line_end", ["", "\n"])
def test_an_answer_goes_on_behind_the_thoughts_that_the_chat_template_opens(
    line_end: str, load_tiny: Load
) -> None:
    loaded = load_tiny("qwen3_5")
    answer = f"<think>{line_end}Look.</think><answer>4</answer>"
    made = [Lesson(Prompt("Where?"), lambda views: answer)]
    batch = batch_of(loaded, made)
    learnt = batch["labels"][0][batch["labels"][0] != IGNORED]
    assert loaded.tokenizer.decode(learnt) == "Look.</think><answer>4</answer><|im_end|>"
    text = loaded.tokenizer.decode(batch["input_ids"][0])
    assert text.endswith("<think>\nLook.</think><answer>4</answer><|im_end|>")


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2"])
def test_an_empty_lesson_has_neither_a_picture_nor_a_token_in_the_loss(
    family: str, load_tiny: Load, picture: Picture
) -> None:
    collator = Collator(load_tiny(family), lessons(family, picture), None)
    alone, batch = collator([{"row": 0}]), collator([{"row": 0}, {"row": EMPTY}])
    assert batch["labels"][0].equal(alone["labels"][0])
    assert batch["labels"][1].eq(IGNORED).all() and 0 < int(batch["attention_mask"][1].sum()) < 9
    if family == "qwen2_vl":
        assert batch["pixel_values"].equal(alone["pixel_values"])
    assert "pixel_values" not in collator([{"row": EMPTY}])
