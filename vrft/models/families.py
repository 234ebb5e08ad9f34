"""Model families and their processors: whatever differs from family to family stands in its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from vrft import paths
from vrft.errors import UserError
from vrft.types import Space

Processor = ProcessorMixin | PreTrainedTokenizerBase
"""A processor, or the tokenizer of a text-only model, as in transformers and TRL."""

IMAGE_TOKEN = "<|image_pad|>"
"""The token that a picture's features replace; in a text, before encoding, one per picture."""

IMAGE_TEXT = f"<|vision_start|>{IMAGE_TOKEN}<|vision_end|>"
"""A picture in the text of a prompt that is not put into a chat template."""

VISION_TOKENS = (
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", IMAGE_TOKEN, "<|video_pad|>",
)  # fmt: skip
"""Markers of pictures and videos, which a completion must never contain."""


@dataclass(frozen=True)
class Family:
    """A model family: its classes in transformers, its coordinates, and the paths of its parts.

    ``auto_model`` is the class that loads the family, ``decoder`` the path of the language model
    below it, and ``lora_layers`` a regular expression for the paths of the decoder's layers. All
    other fields are those of a family with vision: the paths of its vision tower and of the patch
    embedding, the name of its stock processor, and the space in which it writes coordinates. The
    processor of a text-only family is its tokenizer.
    """

    auto_model: Any
    decoder: str
    lora_layers: str = r".*\.layers\.\d+\..*"  # a vision tower calls its layers "blocks"
    has_vision: bool = False
    vision_tower: str = ""
    patch_embedding: str = ""
    processor: str = ""
    space: Space = "thousandths"


FAMILIES = {
    "qwen2_vl": Family(
        auto_model=AutoModelForImageTextToText,
        decoder="model.language_model",
        has_vision=True,
        vision_tower="model.visual",
        patch_embedding="model.visual.patch_embed.proj",
        processor="Qwen2VLProcessor",
        space="thousandths",
    ),
    "qwen2_5_vl": Family(
        auto_model=AutoModelForImageTextToText,
        decoder="model.language_model",
        has_vision=True,
        vision_tower="model.visual",
        patch_embedding="model.visual.patch_embed.proj",
        processor="Qwen2_5_VLProcessor",
        space="pixels",
    ),
    "qwen2": Family(auto_model=AutoModelForCausalLM, decoder="model"),
}
"""The supported families by ``model_type``, the name in a checkpoint's config.json."""


def read_family(source: str) -> Family:
    """Return the family of a hub id or folder by its ``config.model_type``.

    Raises UserError where there is no model, and for a family that is not supported.
    """
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]  # transformers goes on with advice
        raise UserError(f"model {source!r}: no model there ({reason}); give a hub id or a folder "
                        "with a config.json") from error  # fmt: skip
    family = FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(FAMILIES)
        raise UserError(f"model {source!r}: its family is {config.model_type!r}, not {known}")
    return family


def load_processor(
    name: str,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    family: Family | None = None,
) -> Processor:
    """Load the processor of a model, with or without torchvision, with these limits of area.

    A limit that is None stays as the checkpoint has it. Both are saved with the processor. Raises
    UserError where the smallest area would exceed the largest.
    """
    source = paths.model(name)
    family = family or read_family(source)
    if not family.has_vision:
        return AutoTokenizer.from_pretrained(source)
    processor: Any
    try:
        processor = AutoProcessor.from_pretrained(source)
    except (ImportError, OSError, AttributeError, ValueError):
        # The stock class insists on a video processor, which exists only with torchvision, and
        # on folders saved without one. Everything else about it works without.
        processor = image_only(family).from_pretrained(source)
    size = dict(processor.image_processor.size)
    size["shortest_edge"] = min_pixels or size["shortest_edge"]  # areas in pixels, in spite of
    size["longest_edge"] = max_pixels or size["longest_edge"]  # their names in transformers
    if size["shortest_edge"] > size["longest_edge"]:
        raise UserError(f"model.min_pixels {size['shortest_edge']} exceeds model.max_pixels "
                        f"{size['longest_edge']}; raise one or lower the other")  # fmt: skip
    processor.image_processor.size = size
    return processor  # type: ignore[no-any-return]


def image_only(family: Family) -> Any:
    """Return the family's stock processor class without its video processor, under its own name.

    The name is written into saved folders, where plain transformers looks the class up by it.
    """
    stock = getattr(transformers, family.processor)

    # transformers reads from this signature which parts the processor has.
    def __init__(self: Any, image_processor: Any = None, tokenizer: Any = None,
                 chat_template: Any = None, **kwargs: Any) -> None:  # fmt: skip
        for kind in ("image", "video"):
            token = f"<|{kind}_pad|>"
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        # Not the stock class's own __init__, which would ask for the video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return type(family.processor, (stock,), {"__init__": __init__, "__module__": __name__})
