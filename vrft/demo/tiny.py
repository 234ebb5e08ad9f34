"""Tiny models of the true Qwen classes with a small tokenizer of their own: for the demo and tests.

Everything is made offline from a seed. Classes, special tokens, chat template and preprocessing of
pictures are those of Qwen2-VL and Qwen2.5-VL; only the sizes are small. Three settings, unusual in
published checkpoints, let so small a model see where things are:

- ``rope_theta`` is 100, not 1e6, and ``mrope_section`` deals the rotary frequencies out in turns:
  one row or column of a picture turns a head by 0.01 to 0.6 radians. With the published values and
  the 32 dimensions a head has here it would be 1e-5: columns could not be told apart;
- ``initializer_range`` is near one over the root of the hidden size;
- multiples of 20 up to 1000 and the answer tags are tokens of their own: answers stay short.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vrft.demo.course import Size, Vocabulary
from vrft.demo.instructions import CATEGORIES, CLASSES, SIDES, USES
from vrft.models import families
from vrft.models.families import Processor

Family = Literal["qwen2_vl", "qwen2_5_vl", "qwen2"]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CONFIGS: dict[str, Any] = {"qwen2_vl": Qwen2VLConfig, "qwen2_5_vl": Qwen2_5_VLConfig}

MODELS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen2": Qwen2ForCausalLM,
}

NUMBER_STEP = 20
"""Multiples of this up to 1000 are single tokens; every other number is spelled in digits."""

PATCH, MERGE = 14, 2
"""Side of a patch in pixels, and patches a side of one image token: a token sees 28 x 28 pixels."""

ROPE_THETA = 100.0

MROPE_SECTION = [2, 2, 2, 1, 2, 2, 1, 2, 2]
"""How many frequencies time, rows and columns get, in turns, of the 16 of a head of 32."""

NUMBERS = tuple(str(number) for number in range(0, 1001, NUMBER_STEP))

WHOLE = ("<think>", "</think>", "<answer>", "</answer>", "),(")
"""Text that is never cut into smaller tokens; so are NUMBERS, where they stand alone."""

CHAT_TEMPLATE = """\
{% for message in messages %}\
{% if loop.first and message['role'] != 'system' %}\
<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n\
{% endif %}\
<|im_start|>{{ message['role'] }}\n\
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for content in message['content'] %}\
{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}\
<|vision_start|><|image_pad|><|vision_end|>\
{% elif content['type'] == 'video' or 'video' in content %}\
<|vision_start|><|video_pad|><|vision_end|>\
{% elif 'text' in content %}{{ content['text'] }}\
{% endif %}{% endfor %}{% endif %}<|im_end|>\n\
{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}\
"""

OPENING = ("system", "user", "assistant", "the")
"""Words that begin a text: they are learnt without the space before them."""

CORPUS = """\
You are a helpful assistant . system user assistant
Output the bounding box in the image corresponding to the instruction :
First output the thinking process in < think > </ think > tags and then the final answer in
< answer > </ answer > tags . Following format object grounding with coordinates of its corners
Find Which What Where is are this that these there it one in on at by to for from how many
Answer yes no true false red green blue yellow white black two three four five
"""
"""Common words of prompts; the vocabulary of the demo's instructions is added to them."""

WORDS = Vocabulary(
    tuple(
        word if word[0].isupper() else f" {word}"
        for word in " ".join([CORPUS, *CLASSES, *CATEGORIES, *USES, *SIDES]).split()
    )
    + OPENING
)
"""The vocabulary of the embedded model `demo`, and of tests."""


TEST_SIZE = Size(128, 256, 2, 4, 2, 64, 2, 4)
"""About 0.6 M parameters, made in less than a second."""

DEMO_SIZE = Size(128, 384, 4, 4, 2, 96, 4, 3)
"""The embedded model: 1.6 M parameters."""


@functools.cache
def tokenizer(vocabulary: Vocabulary = WORDS) -> PreTrainedTokenizerBase:
    """A byte-level BPE of some 900 tokens: any text can be written, known words are short.

    Its class, its pattern of words and its special tokens are Qwen's.
    """
    made = Qwen2Tokenizer().train_new_from_iterator(
        vocabulary.texts, vocab_size=2000, min_frequency=1, show_progress=False
    )
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:])})
    whole = (*WHOLE, *NUMBERS) if vocabulary.numbers else WHOLE
    made.add_tokens([AddedToken(t, single_word=t.isdigit(), normalized=False) for t in whole])
    made.eos_token, made.pad_token = "<|im_end|>", "<|endoftext|>"
    made.chat_template = CHAT_TEMPLATE
    return made  # type: ignore[no-any-return]


def image_processor(max_pixels: int = 112 * 112) -> Qwen2VLImageProcessorPil:
    """Qwen's preprocessing of pictures; larger ones are scaled down to ``max_pixels``."""
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": max_pixels},
        patch_size=PATCH,
        merge_size=MERGE,
    )


def processor(family: Family, vocabulary: Vocabulary = WORDS) -> Processor:
    """Tokenizer and preprocessing of pictures in the processor class of the family."""
    made = families.image_only(families.FAMILIES[family])
    return made(image_processor(), tokenizer(vocabulary), chat_template=CHAT_TEMPLATE)  # type: ignore[no-any-return]


def build(
    family: Family = "qwen2_vl",
    size: Size = TEST_SIZE,
    seed: int = 0,
    vocabulary: Vocabulary = WORDS,
) -> tuple[PreTrainedModel, Processor]:
    """A model of the family with random weights in float32, and its processor.

    The text-only family ``qwen2`` has a tokenizer for a processor. The same seed gives the same
    weights; the global random state is left as it was.
    """
    words = tokenizer(vocabulary)
    config = config_of(family, size, vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[family](config)
    model.generation_config.eos_token_id = [words.eos_token_id, words.pad_token_id]
    model.generation_config.pad_token_id = words.pad_token_id
    return model.eval(), words if family == "qwen2" else processor(family, vocabulary)


def write(
    folder: Path,
    family: Family = "qwen2_vl",
    size: Size = TEST_SIZE,
    seed: int = 0,
    vocabulary: Vocabulary = WORDS,
) -> Path:
    """Saves what ``build`` makes as a model folder that plain transformers loads."""
    model, made = build(family, size, seed, vocabulary)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def config_of(family: Family, size: Size, vocabulary: Vocabulary = WORDS) -> PreTrainedConfig:
    """The family's configuration at a size, with every token id set to the tiny tokenizer's."""
    words = tokenizer(vocabulary)
    if family == "qwen2":
        return Qwen2Config(**text_settings(size, words, {}), tie_word_embeddings=True)
    ids = words.convert_tokens_to_ids
    text = text_settings(size, words, {"mrope_section": MROPE_SECTION})
    vision: dict[str, Any] = {
        "depth": size.vision_depth,
        "num_heads": size.vision_heads,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "initializer_range": size.vision_size**-0.5,
    }
    if family == "qwen2_vl":
        vision |= {"embed_dim": size.vision_size, "hidden_size": size.hidden_size, "mlp_ratio": 4}
    else:
        vision |= {
            "hidden_size": size.vision_size,
            "intermediate_size": 4 * size.vision_size,
            "out_hidden_size": size.hidden_size,
            "window_size": 56,
            "fullatt_block_indexes": [size.vision_depth - 1],
        }
    return CONFIGS[family](  # type: ignore[no-any-return]
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def text_settings(
    size: Size, words: PreTrainedTokenizerBase, rope: dict[str, Any]
) -> dict[str, Any]:
    """The fields of the language model's configuration, the same in all families."""
    return {
        "vocab_size": len(words),
        "hidden_size": size.hidden_size,
        "intermediate_size": size.intermediate_size,
        "num_hidden_layers": size.num_hidden_layers,
        "num_attention_heads": size.num_attention_heads,
        "num_key_value_heads": size.num_key_value_heads,
        "max_position_embeddings": 4096,
        "initializer_range": size.hidden_size**-0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA} | rope,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
