"""From prompts to tensors: chat template, image tokens, rotary positions, packed batches."""

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
from vrft.images import content_hash, open_image, picture_name
from vrft.models.conversation import (
    apply_template,
    chat_messages,
    check_prompt,
    opened_thoughts,
    raw_text,
)
from vrft.models.families import IMAGE_TOKEN
from vrft.models.loaded import LoadedModel
from vrft.models.processors import Processor
from vrft.models.vision_features import PatchedPicture
from vrft.types import Prompt, View


@dataclass(frozen=True)
class Encoded:
    """One prompt as the model reads it.

    ``tokens`` [P] and rotary ``positions`` [3 or 1, P] on the CPU, the prompt's ``pictures``, and
    in ``views`` the size at which the model sees each. ``image_tokens`` of the tokens are pictures.
    ``opened`` is the tag at its end with which the chat template begins the answer's thoughts; a
    completion is read behind it.
    """

    tokens: Tensor
    positions: Tensor
    pictures: tuple[PatchedPicture, ...] = ()
    views: tuple[View, ...] = ()
    image_tokens: int = 0
    opened: str = ""

    @property
    def pixels(self) -> Tensor | None:
        """Return the patches of all pictures [patches, values], as transformers takes them."""
        return torch.cat([picture.patches for picture in self.pictures]) if self.pictures else None

    @property
    def grids(self) -> Tensor | None:
        """Return the pictures' sizes in patches [images, 3], as transformers takes them."""
        return torch.cat([picture.grid for picture in self.pictures]) if self.pictures else None


@dataclass(frozen=True)
class PromptBatch:
    """B prompts one after the other, T tokens in all, without padding.

    ``tokens`` [T] and ``positions`` [3 or 1, T] are on the model's device. On the CPU are the
    prompts' ``lengths`` [B], the first position after each in ``next_positions`` [B], and the
    ``pictures`` of all prompts in their order.
    """

    tokens: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    next_positions: tuple[int, ...]
    pictures: tuple[PatchedPicture, ...]


def render(processor: Processor, prompt: Prompt) -> str:
    """Return the text that the model continues, with one image token for each picture.

    Every other module has a prompt's text from here. Raises UserError for a prompt that
    ``check_prompt`` refuses, and for a chat template that refuses it or leaves its pictures out.
    """
    has_vision = hasattr(processor, "image_processor")
    check_prompt(prompt, has_vision=has_vision)
    if prompt.raw:
        return raw_text(prompt)
    text = apply_template(processor, chat_messages(prompt, has_vision=has_vision), opened=True)
    if has_vision and text.count(IMAGE_TOKEN) != len(prompt.images):
        raise UserError(
            f"the model's chat template makes {text.count(IMAGE_TOKEN)} x {IMAGE_TOKEN} of "
            f"{len(prompt.images)} picture(s); copy chat_template.jinja from the published model"
        )
    return text + prompt.prefill


def text_tokens(tokenizer: Any, text: str, *, raw: bool) -> list[int]:
    """Return the token ids of a prompt's text, which ``render`` has written.

    A chat template writes the special tokens of a prompt itself. A ``raw`` prompt has those that
    the tokenizer puts around a text, unless it begins with the first of them already.
    """
    begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    return list(tokenizer(text, add_special_tokens=raw and not begun)["input_ids"])


def encode(loaded: LoadedModel, prompt: Prompt, max_length: int | None = None) -> Encoded:
    """Encode one prompt, with its pictures opened, resized and counted; threads may call it.

    Raises UserError for a prompt of more than ``max_length`` tokens: it is never cut, since a cut
    between image tokens would be silent nonsense. Raises it as well for what ``render`` refuses.
    """
    text = render(loaded.processor, prompt)
    opened = "" if prompt.raw or prompt.prefill else opened_thoughts(text)
    pictures = tuple(read_picture(loaded, source) for source in prompt.images)
    grids: Tensor | None = None
    views: tuple[View, ...] = ()
    counts: list[int] = []
    if pictures:
        processor: Any = loaded.processor.image_processor
        grids = torch.cat([picture.grid for picture in pictures])  # [images, 3], in patches
        patch, space = processor.patch_size, loaded.family.space  # pixels
        views = tuple(View(w * patch, h * patch, space) for _, h, w in grids.tolist())
        # As in the stock processor's call: merge_size ** 2 patches become one image token.
        counts = (grids.prod(-1) // processor.merge_size**2).tolist()
        before, *between = text.split(IMAGE_TOKEN)
        text = before + "".join(
            IMAGE_TOKEN * count + words for count, words in zip(counts, between, strict=True)
        )
    tokens = torch.tensor(text_tokens(loaded.tokenizer, text, raw=prompt.raw))  # [P]
    positions = loaded.rope_positions(tokens, grids)
    encoded = Encoded(tokens, positions, pictures, views, sum(counts), opened)
    if max_length is not None and len(tokens) > max_length:
        raise UserError(too_long(encoded, prompt, max_length))
    return encoded


def read_picture(loaded: LoadedModel, source: Path | Image.Image) -> PatchedPicture:
    """Open a picture and cut it into patches, or return the same picture from the cache.

    Raises UserError for a file that is no picture.
    """
    processor: Any = loaded.processor.image_processor
    # By content, not by path: copies are common, and a file may change under its name. The
    # settings belong to the key too, as a caller may set other limits of size meanwhile.
    settings = processor.to_json_string().encode()
    key = hashlib.sha256(content_hash(source) + settings).digest()
    picture = loaded.picture_cache.get(key)
    if picture is None:
        inputs = processor(images=[open_image(source)], return_tensors="pt")
        picture = PatchedPicture(key, inputs["pixel_values"], inputs["image_grid_thw"])
        loaded.picture_cache.put(key, picture)
    return picture


def too_long(encoded: Encoded, prompt: Prompt, limit: int) -> str:
    """Return the message for a prompt over the limit, which says how much of it is pictures."""
    first = f"{picture_name(prompt.images[0])}: " if prompt.images else ""
    return (
        f"{first}the prompt {prompt.text[:60]!r} has {len(encoded.tokens)} tokens, "
        f"{encoded.image_tokens} of them image tokens, over sampling.max_prompt_length={limit}; "
        "lower model.max_pixels or raise the limit"
    )


def collate(prompts: Sequence[Encoded], device: torch.device) -> PromptBatch:
    """Pack prompts of different lengths and numbers of pictures into one batch."""
    tokens = torch.cat([prompt.tokens for prompt in prompts])  # [T]
    positions = torch.cat([prompt.positions for prompt in prompts], dim=1)  # [3 or 1, T]
    return PromptBatch(
        tokens=tokens.to(device, non_blocking=True),
        positions=positions.to(device, non_blocking=True),
        lengths=tuple(len(prompt.tokens) for prompt in prompts),
        # Not the length: a picture of h x w tokens moves the text after it on by max(h, w) alone.
        next_positions=tuple(int(prompt.positions.max()) + 1 for prompt in prompts),
        pictures=tuple(picture for prompt in prompts for picture in prompt.pictures),
    )
