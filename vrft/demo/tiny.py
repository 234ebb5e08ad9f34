"""Tiny models of the true Qwen classes with a small tokenizer of their own, for demos and tests.

Everything is made offline from a seed. Classes, special tokens, chat template and preprocessing of
pictures are the family's; only the sizes are small. Three settings, unusual in published
checkpoints, let so small a model see where objects are:

- ``rope_theta`` is 100, not 1e6, and ``mrope_section`` deals the rotary frequencies out in turns:
  one row or column of a picture turns a head by 0.01 to 0.6 radians. With the published values and
  heads of 32 dimensions one column would turn it by less than 0.0002: columns would look alike;
- ``initializer_range`` is one over the root of the hidden size, not 0.02;
- multiples of 20 up to 1000 and the answer tags are tokens of their own: answers stay short.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen2VLForConditionalGeneration,
    Qwen3_5ForCausalLM,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeForCausalLM,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3_5Tokenizer,
    Qwen3ForCausalLM,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vrft.demo import chat_templates
from vrft.demo.course import Size, Vocabulary
from vrft.demo.instructions import CATEGORIES, CLASSES, SIDES, USES
from vrft.demo.tiny_configs import MERGE, TEXT_ONLY, Family, configuration, patch_size
from vrft.models import processors
from vrft.models.families import FAMILIES
from vrft.models.processors import Processor

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

MODELS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": Qwen3VLForConditionalGeneration,
    "qwen3_vl_moe": Qwen3VLMoeForConditionalGeneration,
    "qwen3_5": Qwen3_5ForConditionalGeneration,
    "qwen3_5_moe": Qwen3_5MoeForConditionalGeneration,
    "qwen2": Qwen2ForCausalLM,
    "qwen3": Qwen3ForCausalLM,
    "qwen3_5_text": Qwen3_5ForCausalLM,
    "qwen3_5_moe_text": Qwen3_5MoeForCausalLM,
}
"""Family -> its model class."""

TEMPLATES = {"qwen2": chat_templates.QWEN2_VL, "qwen3": chat_templates.QWEN3_VL,
             "qwen3_5": chat_templates.QWEN3_5}  # fmt: skip
"""Chat templates by the beginning of a family's name, of which the longest counts."""

CHAT_TEMPLATE = chat_templates.QWEN2_VL
"""Chat template of the embedded models."""

NUMBER_STEP = 20
"""Step of the numbers that are single tokens; every other number is spelt in digits."""

NUMBERS = tuple(str(number) for number in range(0, 1001, NUMBER_STEP))
"""Numbers that are single tokens where they stand alone."""

UNSPLIT_TEXTS = ("<think>", "</think>", "<answer>", "</answer>", "),(")
"""Texts that are never cut into smaller tokens: the answer tags, and the middle of a box."""

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
def tokenizer(
    vocabulary: Vocabulary = WORDS, family: Family = "qwen2_vl"
) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE of 300 to 700 tokens, in which any text can be written.

    Words of the vocabulary are one token, or few. Class, pattern of words, special tokens and chat
    template are the family's. Callers share the tokenizer and must not change it.
    """
    # A larger size than the texts have merges for: training goes on to words that occur only once.
    # Qwen3.5's tokenizer divides texts into words in a way of its own.
    kind: Any = Qwen3_5Tokenizer if family.startswith("qwen3_5") else Qwen2Tokenizer
    words = kind().train_new_from_iterator(
        vocabulary.texts, vocab_size=2000, min_frequency=1, show_progress=False
    )
    # An empty tokenizer of Qwen's already has <|endoftext|>.
    words.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:])})
    unsplit = (*UNSPLIT_TEXTS, *NUMBERS) if vocabulary.numbers else UNSPLIT_TEXTS
    # single_word keeps "20" from being cut out of "1203".
    words.add_tokens([AddedToken(t, single_word=t.isdigit(), normalized=False) for t in unsplit])
    words.eos_token, words.pad_token = "<|im_end|>", "<|endoftext|>"
    words.chat_template = TEMPLATES[max(filter(family.startswith, TEMPLATES), key=len)]
    return words  # type: ignore[no-any-return]


def image_processor(
    max_pixels: int | None = None, family: Family = "qwen2_vl"
) -> Qwen2VLImageProcessorPil:
    """Return Qwen's preprocessing of pictures, of 2 x 2 to 4 x 4 image tokens.

    Larger ones are scaled down to ``max_pixels``, if that is given.
    """
    patch = patch_size(family)
    token = (MERGE * patch) ** 2  # pixels
    return Qwen2VLImageProcessorPil(
        # Called edges, but meant as numbers of pixels in the picture.
        size={"shortest_edge": 4 * token, "longest_edge": max_pixels or 16 * token},
        patch_size=patch,
        merge_size=MERGE,
    )


def processor(family: Family, vocabulary: Vocabulary = WORDS) -> Processor:
    """Return tokenizer and preprocessing of pictures in the processor class of a vision family."""
    processor_class = processors.image_only(FAMILIES[family])
    words = tokenizer(vocabulary, family)
    pictures = image_processor(family=family)
    return processor_class(pictures, words, chat_template=words.chat_template)  # type: ignore[no-any-return]


def build(
    family: Family = "qwen2_vl",
    size: Size = TEST_SIZE,
    seed: int = 0,
    vocabulary: Vocabulary = WORDS,
) -> tuple[PreTrainedModel, Processor]:
    """Return a model of the family with random weights in float32, and its processor.

    The processor of a text-only family is a tokenizer. The same seed gives the same
    weights; the global random state is left as it was.
    """
    words = tokenizer(vocabulary, family)
    config = configuration(family, size, words)
    # transformers initialises from the global generator, which is therefore seeded for a moment;
    # no devices, as weights are made on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[family](config)
        remember(model)
    # Either token ends an answer, as in Qwen's own generation configurations.
    model.generation_config.eos_token_id = [words.eos_token_id, words.pad_token_id]
    model.generation_config.pad_token_id = words.pad_token_id
    return model.eval(), words if family in TEXT_ONLY else processor(family, vocabulary)


def remember(model: PreTrainedModel) -> None:
    """Let gated delta layers remember for some ten tokens or for hundreds, as trained ones do.

    As transformers initialises them, most forget all within two tokens.
    """
    for name, weight in model.named_parameters():
        if name.endswith(".A_log"):
            torch.nn.init.uniform_(weight, -6.0, -2.0)


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
