"""Models of Qwen's own classes with random weights, as wide and deep as the published ones or less.

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

from vrft.demo import tiny, tiny_configs
from vrft.models import processors
from vrft.models.families import FAMILIES

PATCH_VALUES = 3 * 2 * tiny_configs.PATCH**2
"""Numbers in one patch: 3 colours, 2 frames (a picture is a film of two), 14 x 14 pixels."""

MAX_PIXELS = 4096 * 28 * 28
"""A limit above every picture of the settings, so that none is resized."""


@dataclass(frozen=True)
class Shape:
    """The widths and depths of a model.

    ``hidden``, ``inner`` and ``vision_inner`` are the widths of the decoder, of its MLP and of the
    vision tower's MLP.
    """

    name: str
    family: tiny_configs.Family
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

    @property
    def head_size(self) -> int:
        """Return the width of an attention head of the decoder."""
        return self.hidden // self.heads

    def reading(self, pictures: int) -> Shape:
        """Return the shape, without a vision tower where a prompt has no pictures."""
        return self if pictures else replace(self, family="qwen2")


SHAPES = {
    shape.name: shape
    for shape in (
        # family; decoder: width, layers, heads, key heads, MLP, vocabulary; tower: width, blocks,
        # heads, MLP. "2b" is Qwen2-VL-2B.
        Shape("test", "qwen2_vl", 64, 2, 2, 1, 128, 1024, 32, 2, 2, 128),
        Shape("cpu", "qwen2_vl", 384, 6, 6, 2, 1536, 8192, 256, 8, 4, 1024),
        Shape("cpu-third", "qwen2_vl", 384, 2, 6, 2, 1536, 3072, 256, 3, 4, 1024),
        Shape("2b", "qwen2_vl", 1536, 28, 12, 2, 8960, 151936, 1280, 32, 16, 5120),
    )
}


FOLDERS = ExitStack()
"""The folders that ``written`` has made, until the program ends."""

atexit.register(FOLDERS.close)


@functools.cache
def written(shape: Shape, device: str) -> Path:
    """Return a folder with a model of the shape, written when it is first asked for.

    The weights come from a fixed seed, drawn on the device: a CPU would take minutes for billions.
    """
    folder = Path(FOLDERS.enter_context(tempfile.TemporaryDirectory()))
    words = tokenizer(shape.vocabulary)
    # the caller's random state stays as it is: both sides sample with it
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = tiny.MODELS[shape.family](config_of(shape, words))
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    if shape.family == "qwen2":
        words.save_pretrained(folder)
    else:
        processor = processors.image_only(FAMILIES[shape.family])
        images = tiny.image_processor(MAX_PIXELS)
        processor(images, words, chat_template=tiny.CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def tokenizer(size: int) -> PreTrainedTokenizerBase:
    """Return the tiny tokenizer with ``size`` entries, most of which no text is cut into.

    Without these every row of the head beyond the vocabulary would be suppressed in each step of
    sampling, which neither side has to do with a published model.
    """
    small: Any = tiny.tokenizer()
    # added by editing its JSON: added_tokens would be searched for in every text
    state = json.loads(small.backend_tokenizer.to_str())
    # Inside tokens a space is written as another letter: no text merges into a token with a space.
    unused = {f"unused {number}": number for number in range(len(small), size)}
    state["model"]["vocab"] |= unused
    padded = Qwen2Tokenizer(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        eos_token=small.eos_token,
        pad_token=small.pad_token,
        unk_token=None,  # type: ignore[arg-type]
    )
    padded.chat_template = tiny.CHAT_TEMPLATE
    return padded


def config_of(shape: Shape, words: PreTrainedTokenizerBase) -> Any:
    """Return the family's configuration at this shape."""
    # the published share of rotary frequencies: time 1/4, rows and columns 3/8 each
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
    vision = {
        "depth": shape.vision_depth,
        "embed_dim": shape.vision_size,
        "num_heads": shape.vision_heads,
        "mlp_ratio": shape.vision_inner // shape.vision_size,
        "hidden_size": shape.hidden,  # the width that the merger puts out, not the tower's own
        "patch_size": tiny_configs.PATCH,
        "spatial_merge_size": tiny_configs.MERGE,
    }
    ids = words.convert_tokens_to_ids
    return tiny_configs.CONFIGS[shape.family](
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
