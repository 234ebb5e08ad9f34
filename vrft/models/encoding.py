"""From prompts to tensors: chat template, image tokens, positions, padding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vrft.errors import UserError
from vrft.images import content_hash, open_image
from vrft.models.families import Processor
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import Patches
from vrft.types import Prompt, View


@dataclass(frozen=True)
class Encoded:
    """One prompt as the model reads it.

    ``tokens`` [P] on the CPU, ``positions`` [3 or 1, P], its ``pictures``, and in ``views`` what
    the model sees of each.
    """

    tokens: Tensor
    positions: Tensor
    pictures: tuple[Patches, ...] = ()
    views: tuple[View, ...] = ()

    @property
    def pixels(self) -> Tensor | None:
        """The patches of all its pictures [patches, values], as transformers takes them."""
        return torch.cat([one.patches for one in self.pictures]) if self.pictures else None

    @property
    def grids(self) -> Tensor | None:
        """The sizes of its pictures in patches [images, 3], as transformers takes them."""
        return grids_of(self.pictures)


@dataclass(frozen=True)
class PromptBatch:
    """B prompts one after the other, T tokens in all: nothing is padded.

    ``tokens`` [T] and ``positions`` [3 or 1, T] are on the model's device; on the CPU are the
    ``lengths`` [B], the position ``following`` [B] each prompt, and the ``pictures`` of all in
    their order.
    """

    tokens: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    following: tuple[int, ...]
    pictures: tuple[Patches, ...]


PLACEHOLDER = "<|image_pad|>"
"""What stands for a picture in a text of the Qwen-VL family, before it is widened to its tokens."""

PICTURE = f"<|vision_start|>{PLACEHOLDER}<|vision_end|>"
"""The place of a picture."""


def messages(prompt: Prompt, *, vision: bool) -> list[dict[str, Any]]:
    """The prompt as chat messages, pictures before the text."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    if not vision:
        return [*system, {"role": "user", "content": prompt.text}]
    content = [{"type": "image"} for _ in prompt.images]
    return [*system, {"role": "user", "content": [*content, {"type": "text", "text": prompt.text}]}]


def render(processor: Processor, prompt: Prompt) -> str:
    """The text that the model continues, one placeholder per picture: the only place it is made."""
    vision = hasattr(processor, "image_processor")
    if prompt.images and not vision:
        raise UserError("the model reads no pictures; choose one of the Qwen-VL family")
    if prompt.raw:
        return PICTURE * len(prompt.images) + (prompt.system or "") + prompt.text + prompt.prefill
    text = processor.apply_chat_template(
        messages(prompt, vision=vision), tokenize=False, add_generation_prompt=True
    )
    return str(text) + prompt.prefill


def encode(loaded: LoadedModel, prompt: Prompt, max_length: int | None = None) -> Encoded:
    """One prompt with its pictures opened, resized and counted; threads may call it.

    Raises UserError where it has more than ``max_length`` tokens: a prompt is never cut, since
    a cut between image tokens would be silent nonsense; and where its words hold a place for a
    picture that is not there.
    """
    text = render(loaded.processor, prompt)
    if loaded.family.space and text.count(PLACEHOLDER) != len(prompt.images):
        raise UserError(
            f"the prompt {prompt.text[:60]!r} has {PLACEHOLDER} in its text; "
            "remove it from the data"
        )
    pictures = tuple(read_picture(loaded, source) for source in prompt.images)
    grids = grids_of(pictures)
    tokens = torch.tensor(loaded.tokenizer(widened(loaded, text, pictures))["input_ids"])
    positions = loaded.positions(tokens, grids)
    encoded = Encoded(tokens, positions, pictures, views(loaded, grids))
    if max_length is not None and len(tokens) > max_length:
        raise UserError(too_long(loaded, encoded, prompt, max_length))
    return encoded


def read_picture(loaded: LoadedModel, source: Path | Image.Image) -> Patches:
    """A picture as the processor makes it, remembered by its content and the processor's settings.

    Raises UserError for what is no picture.
    """
    processor: Any = loaded.processor.image_processor
    settings = processor.to_json_string().encode()
    key = hashlib.sha256(content_hash(source) + settings).digest()
    found = loaded.pictures.get(key)
    if found is None:
        made = processor(images=[open_image(source)], return_tensors="pt")
        found = Patches(key, made["pixel_values"], made["image_grid_thw"])
        loaded.pictures.put(key, found)
    return found


def widened(loaded: LoadedModel, text: str, pictures: Sequence[Patches]) -> str:
    """The text with as many placeholders for each picture as it has image tokens."""
    words = iter(text.split(PLACEHOLDER) if pictures else [text])
    out = next(words)
    for picture, after in zip(pictures, words, strict=True):
        merged = loaded.processor.image_processor.merge_size**2
        out += PLACEHOLDER * (int(picture.grid.prod()) // merged) + after
    return out


def grids_of(pictures: Sequence[Patches]) -> Tensor | None:
    """The sizes of pictures in patches [images, 3]; None for no picture."""
    return torch.cat([picture.grid for picture in pictures]) if pictures else None


def too_long(loaded: LoadedModel, encoded: Encoded, prompt: Prompt, limit: int) -> str:
    """The message for a prompt over the limit, saying how much of it is pictures."""
    pictures = sum(view.width * view.height // 28**2 for view in encoded.views)
    what = f"{prompt.images[0]}: " if prompt.images else ""
    return (
        f"{what}the prompt {prompt.text[:60]!r} has {len(encoded.tokens)} tokens, {pictures} of "
        f"them image tokens, over sampling.max_prompt_length={limit}; lower model.max_pixels or "
        "raise the limit"
    )


def views(loaded: LoadedModel, grids: Tensor | None) -> tuple[View, ...]:
    """The size in pixels of each picture after resizing: patches times patch size."""
    if grids is None or loaded.family.space is None:
        return ()
    patch = loaded.processor.image_processor.patch_size
    return tuple(View(w * patch, h * patch, loaded.family.space) for _, h, w in grids.tolist())


def collate(prompts: Sequence[Encoded], device: torch.device) -> PromptBatch:
    """Prompts of different lengths and numbers of pictures as one batch."""
    return PromptBatch(
        tokens=torch.cat([prompt.tokens for prompt in prompts]).to(device, non_blocking=True),
        positions=torch.cat([prompt.positions for prompt in prompts], dim=1).to(
            device, non_blocking=True
        ),
        lengths=tuple(len(prompt.tokens) for prompt in prompts),
        following=tuple(int(prompt.positions.max()) + 1 for prompt in prompts),
        pictures=tuple(picture for prompt in prompts for picture in prompt.pictures),
    )
