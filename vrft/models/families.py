"""Model families and their processors: the only file that knows one family from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import transformers
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from vrft import paths
from vrft.errors import UserError
from vrft.types import Space


@dataclass(frozen=True)
class Family:
    """What distinguishes a model family: how it writes coordinates, and its processor's name.

    A text-only family has neither.
    """

    space: Space | None
    processor: str = ""


FAMILIES = {
    "qwen2_vl": Family("thousandths", "Qwen2VLProcessor"),
    "qwen2_5_vl": Family("pixels", "Qwen2_5_VLProcessor"),
    "qwen2": Family(None),
}


Processor = ProcessorMixin | PreTrainedTokenizerBase
"""A text-only model's processor is its tokenizer, as in transformers and TRL."""


def read_family(source: str) -> Family:
    """The family by ``config.model_type``; UserError for none, or one that is not supported."""
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
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
    """The processor of a model, with or without torchvision, with these pixel limits.

    Limits that are None stay what the checkpoint says; they are saved with the processor.
    """
    source = paths.model(name)
    family = family or read_family(source)
    if family.space is None:
        return AutoTokenizer.from_pretrained(source)
    processor: Any = load_vision(source, family)
    size = dict(processor.image_processor.size)
    size["shortest_edge"] = min_pixels or size["shortest_edge"]
    size["longest_edge"] = max_pixels or size["longest_edge"]
    if size["shortest_edge"] > size["longest_edge"]:
        raise UserError(f"model.min_pixels {size['shortest_edge']} exceeds model.max_pixels "
                        f"{size['longest_edge']}; raise one or lower the other")  # fmt: skip
    processor.image_processor.size = size
    return processor  # type: ignore[no-any-return]


def load_vision(source: str, family: Family) -> Any:
    """The stock processor where it loads; without torchvision, the same one without video."""
    try:
        return AutoProcessor.from_pretrained(source)
    except (ImportError, OSError, AttributeError, ValueError):
        # The stock class insists on a video processor, which exists only with torchvision, and
        # on folders saved without one. Everything else about it works without.
        return image_only(family).from_pretrained(source)


def image_only(family: Family) -> Any:
    """The family's stock processor class less its video processor, under the stock name."""
    stock = getattr(transformers, family.processor)

    def __init__(self: Any, image_processor: Any = None, tokenizer: Any = None,
                 chat_template: Any = None, **kwargs: Any) -> None:  # fmt: skip
        for kind in ("image", "video"):
            token = f"<|{kind}_pad|>"
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return type(family.processor, (stock,), {"__init__": __init__, "__module__": __name__})
