"""Lessons: prompts with the answers to be learnt, and the batches that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vrft.models import conversation, encoding
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.runs.bad_pictures import BadPictures
from vrft.sft.shares import EMPTY
from vrft.task import Task
from vrft.types import Prompt, Sample, View

IGNORED = -100
"""The label of a token that has no part in the loss, by PyTorch's convention."""


@dataclass(frozen=True)
class Lesson:
    """A prompt, and its answer: a function of the views in which the model sees the pictures."""

    prompt: Prompt
    answer: Callable[[tuple[View, ...]], str]


class SampleLessons(Sequence[Lesson]):
    """The lessons of a task's samples: prompts, and references for answers, made when asked for."""

    def __init__(self, task: Task[Any], samples: Sequence[Sample[Any]]) -> None:
        self.task, self.samples = task, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: Any) -> Any:
        sample = self.samples[row]
        return Lesson(self.task.prompt(sample), partial(self.task.reference, sample))


@dataclass(frozen=True)
class Collator:
    """The batch maker of transformers' loader: lessons by their numbers to a model's inputs.

    Pictures are opened here, when a batch needs them, through the cache that training by reward
    uses: later epochs find them as the processor made them. ``ids`` name the lessons; where the
    picture of one cannot be read and the run may skip it, the next in the data stands in its place.
    """

    loaded: LoadedModel
    lessons: Sequence[Lesson]
    max_prompt_length: int | None
    bad_pictures: BadPictures = field(default_factory=BadPictures)
    ids: Sequence[str] = ()

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Return the batch; raise UserError for prompts and answers that cannot be encoded.

        An EMPTY row is a word without a picture and without an answer.
        """
        numbers = [row["row"] for row in rows]
        pairs = [
            (None, self.word()) if number == EMPTY else self.readable(number) for number in numbers
        ]
        prompts = [prompt for _, prompt in pairs]
        answers: list[list[int]] = []
        for lesson, prompt in pairs:
            if lesson is None:
                answers.append([])
                continue
            # The answer depends on what the model sees: boxes are in pixels of the resized picture.
            text = lesson.answer(prompt.views).removeprefix(lesson.prompt.prefill)
            # Written by the chat template, which may end a line where an answer does not.
            opened = prompt.opened if text.startswith(prompt.opened) else prompt.opened.strip()
            text = text.removeprefix(opened)
            conversation.check_answer(text)
            tokens = self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
            answers.append([*tokens, self.loaded.tokenizer.eos_token_id])
        return pad_right(self.loaded, prompts, answers)

    def word(self) -> Encoded:
        """Return a prompt that no lesson has, for a row that is not learnt.

        It has no picture, as a vision tower that no lesson reaches is not stepped.
        """
        return encoding.encode(self.loaded, Prompt("Hello", raw=True))

    def readable(self, row: int) -> tuple[Lesson, Encoded]:
        """Return a lesson with its encoded prompt, or the next one whose picture can be read."""
        count = len(self.lessons)
        coming = ((row + ahead) % count for ahead in range(count))
        return self.bad_pictures.first_readable(coming, self.name, self.read)[1]

    def name(self, row: int) -> str:
        """Return the id of a lesson's sample, or its number where it has none."""
        return self.ids[row] if self.ids else str(row)

    def read(self, row: int) -> tuple[Lesson, Encoded]:
        """Return a lesson with its encoded prompt; PictureError for one that cannot be read."""
        lesson = self.lessons[row]
        return lesson, encoding.encode(self.loaded, lesson.prompt, self.max_prompt_length)


def pad_right(
    loaded: LoadedModel, prompts: Sequence[Encoded], answers: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Return prompts with their answers' tokens as the inputs of the model's own forward.

    Rows [B, L] are padded on the right; ``labels`` [B, L] hold the answers' tokens, and IGNORED on
    prompts and padding. Pictures of all rows stand one after the other in ``pixel_values``
    [patches, values] and ``image_grid_thw`` [images, 3].
    """
    pad = partial(pad_sequence, batch_first=True)
    tails = [torch.tensor(answer, dtype=torch.long) for answer in answers]
    tokens = [torch.cat([p.tokens, tail]) for p, tail in zip(prompts, tails, strict=True)]
    labels = [F.pad(tail, (len(p.tokens), 0), value=IGNORED)
              for p, tail in zip(prompts, tails, strict=True)]  # fmt: skip
    batch = {
        "input_ids": pad(tokens, padding_value=float(loaded.tokenizer.pad_token_id)),
        "attention_mask": pad([torch.ones_like(row) for row in tokens]),
        "labels": pad(labels, padding_value=IGNORED),
    }
    if loaded.vision_tower is not None:
        # The model derives its three-dimensional positions from these: 1 on a picture's tokens.
        image = loaded.core.config.image_token_id
        types = [F.pad((p.tokens == image).long(), (0, len(tail)))
                 for p, tail in zip(prompts, tails, strict=True)]  # fmt: skip
        batch["mm_token_type_ids"] = pad(types)
    pictures = [picture for prompt in prompts for picture in prompt.pictures]
    if pictures:
        batch["pixel_values"] = torch.cat([picture.patches for picture in pictures])
        batch["image_grid_thw"] = torch.cat([picture.grid for picture in pictures])
    return batch
