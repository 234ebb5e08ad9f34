"""Tiny models of the true Qwen classes with a small tokenizer of their own, for demos and tests.

Everything is made offline from a seed. Classes, special tokens, chat template and preprocessing of
pictures are those of Qwen2-VL and Qwen2.5-VL; only the sizes are small. Three settings, unusual in
published checkpoints, let so small a model see where objects are:

- ``rope_theta`` is 100, not 1e6, and ``mrope_section`` deals the rotary frequencies out in turns:
  one row or column of a picture turns a head by 0.01 to 0.6 radians. With the published values and
  heads of 32 dimensions one column would turn it by less than 0.0002: columns would look alike;
- ``initializer_range`` is one over the root of the hidden size, not 0.02;
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
"""Names of the families of ``vrft.models.families``; the last is text-only."""

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
"""Special tokens of Qwen's tokenizers, in their order."""

CONFIGS: dict[str, Any] = {"qwen2_vl": Qwen2VLConfig, "qwen2_5_vl": Qwen2_5_VLConfig}
"""Vision family -> its configuration class."""

MODELS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen2": Qwen2ForCausalLM,
}
"""Family -> its model class."""

NUMBER_STEP = 20
"""Step of the numbers that are single tokens; every other number is spelt in digits."""

NUMBERS = tuple(str(number) for number in range(0, 1001, NUMBER_STEP))
"""Numbers that are single tokens where they stand alone."""

PATCH, MERGE = 14, 2
"""Side of a patch in pixels, and patches a side of one image token: a token sees 28 x 28 pixels."""

ROPE_THETA = 100.0
"""Base of the rotary frequencies: frequency i of 16 is 100 ** (-i / 16) radians per position."""

# transformers gives chunk i of the frequencies to axis i % 3: nine chunks deal them out in three
# rounds. In three chunks, as published, columns would get only the slowest frequencies.
MROPE_SECTION = [2, 2, 2, 1, 2, 2, 1, 2, 2]
"""Numbers of rotary frequencies of time, rows and columns, in turns; 16 for a head of 32."""

UNSPLIT_TEXTS = ("<think>", "</think>", "<answer>", "</answer>", "),(")
"""Texts that are never cut into smaller tokens: the answer tags, and the middle of a box."""

# Qwen2-VL's own template, without its option to number the pictures.
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
"""Chat template of Qwen2-VL: a default system turn, and pictures in their places."""

OPENING = ("system", "user", "assistant", "the")
"""Words that begin a text or a turn: they become tokens without the space before them."""

CORPUS = """\
You are a helpful assistant . system user assistant
Output the bounding box in the image corresponding to the instruction :
First output the thinking process in < think > </ think > tags and then the final answer in
< answer > </ answer > tags . Following format object grounding with coordinates of its corners
Find Which What Where is are this that these there it one in on at by to for from how many
Answer yes no true false red green blue yellow white black two three four five
"""
"""Common words of prompts; the vocabulary of the demo's instructions is added to them."""

# A byte-level BPE keeps the space before a word in the word's token. Words of the corpus stand
# inside sentences; capitalised ones begin one, and come without a space.
WORDS = Vocabulary(
    tuple(
        word if word[0].isupper() else f" {word}"
        for word in " ".join([CORPUS, *CLASSES, *CATEGORIES, *USES, *SIDES]).split()
    )
    + OPENING
)
"""Vocabulary of the embedded model `demo`, and of tests."""


TEST_SIZE = Size(128, 256, 2, 4, 2, 64, 2, 4)
"""Size of the models of tests: about 0.6 M parameters, made in less than a second."""

DEMO_SIZE = Size(128, 384, 4, 4, 2, 96, 4, 3)
"""Size of the embedded model `demo`: 1.6 M parameters."""


@functools.cache
def tokenizer(vocabulary: Vocabulary = WORDS) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE of 300 to 700 tokens, in which any text can be written.

    Words of the vocabulary are one token, or few. Class, pattern of words and special tokens are
    Qwen's. Callers share the tokenizer and must not change it.
    """
    # A larger size than the texts have merges for: training goes on to words that occur only once.
    words = Qwen2Tokenizer().train_new_from_iterator(
        vocabulary.texts, vocab_size=2000, min_frequency=1, show_progress=False
    )
    # An empty Qwen2Tokenizer already has <|endoftext|>.
    words.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:])})
    unsplit = (*UNSPLIT_TEXTS, *NUMBERS) if vocabulary.numbers else UNSPLIT_TEXTS
    # single_word keeps "20" from being cut out of "1203".
    words.add_tokens([AddedToken(t, single_word=t.isdigit(), normalized=False) for t in unsplit])
    words.eos_token, words.pad_token = "<|im_end|>", "<|endoftext|>"
    words.chat_template = CHAT_TEMPLATE
    return words  # type: ignore[no-any-return]


def image_processor(max_pixels: int = 112 * 112) -> Qwen2VLImageProcessorPil:
    """Return Qwen's preprocessing of pictures; larger ones are scaled down to ``max_pixels``."""
    return Qwen2VLImageProcessorPil(
        # Called edges, but meant as numbers of pixels in the picture.
        size={"shortest_edge": 56 * 56, "longest_edge": max_pixels},
        patch_size=PATCH,
        merge_size=MERGE,
    )


def processor(family: Family, vocabulary: Vocabulary = WORDS) -> Processor:
    """Return tokenizer and preprocessing of pictures in the processor class of a vision family."""
    processor_class = families.image_only(families.FAMILIES[family])
    return processor_class(image_processor(), tokenizer(vocabulary), chat_template=CHAT_TEMPLATE)  # type: ignore[no-any-return]


def build(
    family: Family = "qwen2_vl",
    size: Size = TEST_SIZE,
    seed: int = 0,
    vocabulary: Vocabulary = WORDS,
) -> tuple[PreTrainedModel, Processor]:
    """Return a model of the family with random weights in float32, and its processor.

    The processor of the text-only family ``qwen2`` is a tokenizer. The same seed gives the same
    weights; the global random state is left as it was.
    """
    words = tokenizer(vocabulary)
    config = configuration(family, size, vocabulary)
    # transformers initialises from the global generator, which is therefore seeded for a moment;
    # no devices, as weights are made on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[family](config)
    # Either token ends an answer, as in Qwen's own generation configurations.
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
    """Write the model and processor of ``build`` as a folder that plain transformers loads."""
    model, model_processor = build(family, size, seed, vocabulary)
    model.save_pretrained(folder)
    model_processor.save_pretrained(folder)
    return folder


def configuration(family: Family, size: Size, vocabulary: Vocabulary = WORDS) -> PreTrainedConfig:
    """Return the family's configuration at a size, with the token ids of the tiny tokenizer."""
    words = tokenizer(vocabulary)
    text: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": size.hidden_size,
        "intermediate_size": size.intermediate_size,
        "num_hidden_layers": size.num_hidden_layers,
        "num_attention_heads": size.num_attention_heads,
        "num_key_value_heads": size.num_key_value_heads,
        "max_position_embeddings": 4096,
        # Products of a weight matrix then keep the scale of their input; 0.02 is made for widths of
        # thousands, and would let the signal of 64 to 128 die away.
        "initializer_range": size.hidden_size**-0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    # Embeddings are tied to the output layer, as in the smallest Qwen models.
    if family == "qwen2":
        return Qwen2Config(**text, tie_word_embeddings=True)
    text["rope_parameters"]["mrope_section"] = MROPE_SECTION
    vision: dict[str, Any] = {
        "depth": size.vision_depth,
        "num_heads": size.vision_heads,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "initializer_range": size.vision_size**-0.5,
    }
    # The two families name the widths of their vision tower differently: ``hidden_size`` is the
    # language model's in the first, and the tower's own in the second.
    if family == "qwen2_vl":
        vision |= {"embed_dim": size.vision_size, "hidden_size": size.hidden_size, "mlp_ratio": 4}
    else:
        vision |= {
            "hidden_size": size.vision_size,
            "intermediate_size": 4 * size.vision_size,
            "out_hidden_size": size.hidden_size,
            # Windows of 2 x 2 image tokens in all layers but the last, so that even pictures of
            # 112 x 112 pixels have several windows.
            "window_size": 56,
            "fullatt_block_indexes": [size.vision_depth - 1],
        }
    return CONFIGS[family](  # type: ignore[no-any-return]
        text_config=text,
        vision_config=vision,
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
