"""Models of the true classes with random weights: as wide and deep as the published ones, or less.

A matrix product takes as long with random weights as with trained ones.
"""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2Tokenizer

from vrft.demo import tiny
from vrft.models import families

PATCH_VALUES = 3 * 2 * tiny.PATCH**2
"""Numbers in one patch: colours, frames (a picture is shown twice), pixels."""

MAX_PIXELS = 1024 * 28 * 28
"""Larger than any picture of the settings: they come in the size in which they are seen."""


@dataclass(frozen=True)
class Shape:
    """Widths and depths of a model.

    ``vision_inner`` is the width inside the vision tower's MLP, which ``gated`` (Qwen2.5-VL) has
    a third matrix. ``window`` is how many patches attend to each other in windowed blocks, 0 for
    none; ``full_blocks`` are those that are not windowed.
    """

    name: str
    family: tiny.Family
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    vision_size: int
    vision_depth: int
    vision_heads: int
    vision_inner: int
    window: int = 0
    full_blocks: tuple[int, ...] = ()

    @property
    def head_size(self) -> int:
        """Width of a head of the language model."""
        return self.hidden // self.heads

    def reading(self, pictures: int) -> Shape:
        """The shape as it is, or without a vision tower where there are no pictures."""
        return self if pictures else replace(self, family="qwen2")

    @property
    def gated(self) -> bool:
        """Whether the vision tower's MLP has a gate."""
        return self.family == "qwen2_5_vl"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("test", "qwen2_vl", 64, 2, 2, 1, 128, 1024, 32, 2, 2, 128),
        Shape("cpu", "qwen2_vl", 384, 6, 6, 2, 1536, 8192, 256, 8, 4, 1024),
        Shape("cpu-third", "qwen2_vl", 384, 2, 6, 2, 1536, 3072, 256, 3, 4, 1024),
        Shape("2b", "qwen2_vl", 1536, 28, 12, 2, 8960, 151936, 1280, 32, 16, 5120),
        Shape("3b", "qwen2_5_vl", 2048, 36, 16, 2, 11008, 151936, 1280, 32, 16, 3420, 64,
              (7, 15, 23, 31)),
    )
}  # fmt: skip


FOLDERS = ExitStack()
"""What ``written`` has made, until the program ends."""

atexit.register(FOLDERS.close)


@functools.cache
def written(shape: Shape, device: str) -> Path:
    """A folder with a model of the shape, the same one whenever it is asked for."""
    folder = FOLDERS.enter_context(tempfile.TemporaryDirectory())
    return write(shape, Path(folder), device)


def write(shape: Shape, folder: Path, device: str) -> Path:
    """Saves a model of the shape, from the same seed always, as a folder that ``load`` reads."""
    words = tokenizer(shape.vocabulary)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = tiny.MODELS[shape.family](config_of(shape, words))
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    if shape.family == "qwen2":
        words.save_pretrained(folder)
    else:
        made = families.image_only(families.FAMILIES[shape.family])
        pictures = tiny.image_processor(MAX_PIXELS)
        made(pictures, words, chat_template=tiny.CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def tokenizer(size: int) -> PreTrainedTokenizerBase:
    """The tiny tokenizer with entries that no text is cut into, so that it has ``size`` tokens.

    Without them every token above would have to be suppressed in sampling, in each step.
    """
    small: Any = tiny.tokenizer()
    state = json.loads(small.backend_tokenizer.to_str())
    # A space is written as another letter inside tokens: words never merge into these.
    unused = {f"unused {number}": number for number in range(len(small), size)}
    state["model"]["vocab"] |= unused
    made = Qwen2Tokenizer(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        eos_token=small.eos_token,
        pad_token=small.pad_token,
        unk_token=None,  # type: ignore[arg-type]
    )
    made.chat_template = tiny.CHAT_TEMPLATE
    return made


def config_of(shape: Shape, words: PreTrainedTokenizerBase) -> Any:
    """The family's configuration at this shape."""
    sections = [shape.head_size // 8, *[3 * shape.head_size // 16] * 2]
    rope = {} if shape.family == "qwen2" else {"mrope_section": sections}
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6} | rope,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    if shape.family == "qwen2":
        return Qwen2Config(**text, tie_word_embeddings=True)
    ids = words.convert_tokens_to_ids
    return tiny.CONFIGS[shape.family](
        text_config=text,
        vision_config=vision_settings(shape),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def vision_settings(shape: Shape) -> dict[str, Any]:
    """The fields of the vision tower's configuration."""
    settings: dict[str, Any] = {
        "depth": shape.vision_depth,
        "num_heads": shape.vision_heads,
        "patch_size": tiny.PATCH,
        "spatial_merge_size": tiny.MERGE,
    }
    if not shape.gated:
        ratio = shape.vision_inner // shape.vision_size
        own = {"embed_dim": shape.vision_size, "hidden_size": shape.hidden, "mlp_ratio": ratio}
        return settings | own
    return settings | {
        "hidden_size": shape.vision_size,
        "intermediate_size": shape.vision_inner,
        "out_hidden_size": shape.hidden,
        "window_size": tiny.PATCH * int(shape.window**0.5),
        "fullatt_block_indexes": list(shape.full_blocks),
    }
