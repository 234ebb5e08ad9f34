"""The true sizes of a task's prompts: pictures by their headers, text by the model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from vrft import images
from vrft.checks.samples import PromptCounter
from vrft.config.schema import ModelConfig
from vrft.errors import PictureError, UserError
from vrft.progress import with_progress
from vrft.step_plans.rehearsal import PromptShape
from vrft.step_plans.shape import Shape
from vrft.task import Task
from vrft.types import Prompt, Sample

BYTES_OF_A_TOKEN = 4
"""Bytes of text that one token is taken to have where no tokenizer is at hand."""

TEMPLATE_TOKENS = 20
"""Tokens that a chat template is then taken to add to a prompt."""


@dataclass(frozen=True)
class Lengths:
    """The prompts of a split by their shapes, and the side of an image token in pixels.

    ``estimated`` says that text was counted by its bytes; ``skipped`` counts samples that a run
    would leave out for their pictures.
    """

    prompts: tuple[PromptShape, ...]
    factor: int
    estimated: bool = False
    skipped: int = 0

    def image_tokens(self, prompt: PromptShape) -> int:
        """Return the tokens of a prompt's pictures."""
        return sum(images.image_tokens(*size, self.factor) for size in prompt.pictures)

    def tokens(self, prompt: PromptShape) -> int:
        """Return all tokens of a prompt."""
        return prompt.words + self.image_tokens(prompt)

    @property
    def longest(self) -> PromptShape:
        """Return the prompt with the most tokens, which decides the memory."""
        return max(self.prompts, key=self.tokens)

    @property
    def middle(self) -> PromptShape:
        """Return the prompt of the median number of tokens, which decides the time."""
        ordered = sorted(self.prompts, key=self.tokens)
        return ordered[len(ordered) // 2]

    def line(self) -> str:
        """Return the spread of image tokens and of prompts' tokens in words."""
        pictures = [self.image_tokens(prompt) for prompt in self.prompts]
        tokens = [self.tokens(prompt) for prompt in self.prompts]
        text = f"{len(self.prompts)} prompt(s): "
        if any(pictures):
            text += (
                f"image tokens {median(pictures):,.0f} in the median, {max(pictures):,} at most; "
            )
        text += f"all tokens {median(tokens):,.0f} in the median, {max(tokens):,} at most"
        if self.skipped:
            text += f"; {self.skipped} left out for their pictures"
        if self.estimated:
            text += f"; text counted as {BYTES_OF_A_TOKEN} bytes a token, as no tokenizer is here"
        return text


def limits(shape: Shape, settings: ModelConfig, counter: PromptCounter | None) -> tuple[int, int]:
    """Return the smallest and largest area at which the model sees a picture, in pixels."""
    if counter is not None and counter.pixels:
        return counter.pixels
    family = shape.family
    return settings.min_pixels or family.min_pixels, settings.max_pixels or family.max_pixels


def of_sizes(
    sizes: Sequence[tuple[int, int]],
    words: int,
    shape: Shape,
    settings: ModelConfig,
    counter: PromptCounter | None = None,
) -> Lengths:
    """Return the lengths of one prompt with pictures of these (width, height), without any data."""
    if shape.vision is None:
        if sizes:
            raise UserError(f"--picture: {shape.name} reads no pictures; leave it out")
        return Lengths((PromptShape(words),), images.FACTOR)
    area = limits(shape, settings, counter)
    seen = tuple(images.resized_size(*size, *area, shape.factor) for size in sizes)
    return Lengths((PromptShape(words, seen),), shape.factor)


def read(
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    shape: Shape,
    settings: ModelConfig,
    counter: PromptCounter | None,
    *,
    skip: bool = False,
) -> Lengths:
    """Return the lengths of all samples' prompts; of a picture's file its header alone is read.

    Raises UserError that names the sample for a picture whose header cannot be read, unless such
    samples are to be left out by ``skip``.
    """
    area = limits(shape, settings, counter) if shape.vision is not None else (0, 0)
    factor = shape.factor if shape.vision is not None else images.FACTOR
    prompts = []
    skipped = 0
    for sample in with_progress(samples, "sizes of prompts"):
        try:
            prompt = task.prompt(sample)
            seen = tuple(
                images.resized_size(*images.image_size(source), *area, factor)
                for source in prompt.images
            )
        except PictureError as error:
            if not skip:
                raise UserError(f"sample {sample.id!r}: {error}") from error
            skipped += 1
            continue
        prompts.append(PromptShape(words(prompt, counter), seen))
    if not prompts:
        raise UserError("no sample is left whose prompt could be measured")
    return Lengths(tuple(prompts), factor, counter is None, skipped)


def words(prompt: Prompt, counter: PromptCounter | None) -> int:
    """Return the tokens of a prompt's text, without those of its pictures."""
    if counter is None:
        parts = [prompt.system or "", *(turn.text for turn in prompt.turns)]
        parts += [prompt.text, prompt.prefill]
        # A lone surrogate is refused with its sample elsewhere, and counts here as a letter.
        size = sum(len(part.encode(errors="replace")) for part in parts)
        return size // BYTES_OF_A_TOKEN + TEMPLATE_TOKENS
    tokens, _ = counter.read(prompt, ())
    return tokens
