"""Prompts counted in tokens as a model reads them, from its processor alone, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vrft import images, paths
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import encoding, hub, processors
from vrft.models.conversation import give_arguments
from vrft.models.families import IMAGE_TOKEN
from vrft.types import Prompt


class TokenCounter:
    """The length of prompts in tokens, and the places for pictures in them."""

    def __init__(self, processor: processors.Processor) -> None:
        self.processor: Any = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", processor)

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Return the smallest and largest area of a picture; None for a text-only model."""
        pictures = getattr(self.processor, "image_processor", None)
        if pictures is None:
            return None
        # Areas in pixels, in spite of their names in transformers.
        return pictures.size["shortest_edge"], pictures.size["longest_edge"]

    @property
    def factor(self) -> int:
        """Return the pixels along one side of an image token; ``FACTOR`` of a text-only model."""
        pictures = getattr(self.processor, "image_processor", None)
        return int(pictures.patch_size * pictures.merge_size) if pictures else images.FACTOR

    def read(self, prompt: Prompt, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Count a prompt's tokens, image tokens included, and its pictures in their places.

        ``sizes`` are the (width, height) at which the model sees the pictures. Raises UserError
        for a prompt that training refuses.
        """
        text = encoding.render(self.processor, prompt)
        places = text.count(IMAGE_TOKEN) if self.pixels else 0
        # Each place is one token of the text, and becomes as many as its picture has.
        words = len(encoding.text_tokens(self.tokenizer, text, raw=prompt.raw)) - places
        return words + sum(images.image_tokens(*size, self.factor) for size in sizes), places


def load_counter(config: ModelConfig) -> TokenCounter:
    """Load the counter of a model's name; UserError where its processor cannot be had."""
    source = local_folder(config.name)
    processor = processors.load_processor(source, config.min_pixels, config.max_pixels)
    give_arguments(processor, config.chat_template_kwargs)
    return TokenCounter(processor)


def local_folder(name: str) -> str:
    """Return the folder of a model: its own, or the one in the hub's cache.

    The hub is never asked: a check must not wait for it. Raises UserError where the model is not
    on this machine.
    """
    source = paths.model(name)
    if Path(source).is_dir():
        return source
    folder = hub.cached(source)
    if folder is None:
        raise UserError(
            f"model {name!r} is not on this machine; fetch all but its weights with "
            f"`hf download {name} --exclude '*.safetensors'`"
        )
    return str(folder)
