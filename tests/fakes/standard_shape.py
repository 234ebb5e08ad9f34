"""Tiny models of the shape that a real vLLM serves: heads of 32, three sections of frequencies."""

from __future__ import annotations

from pathlib import Path

import torch

from vrft.demo import tiny


def write(folder: Path, family: tiny.Family, *, tied: bool = True, seed: int = 0) -> Path:
    """Write a model of hidden size 128 with two layers of four heads, and its processor.

    vLLM takes exactly three sections, for time, rows and columns, of the 16 frequencies of a head.
    """
    words = tiny.tokenizer(tiny.WORDS, family)
    config = tiny.configuration(family, tiny.TEST_SIZE, words)
    text = config.get_text_config()
    if text.rope_parameters.get("mrope_interleaved"):
        text.head_dim, text.rope_parameters["mrope_section"] = 32, [6, 5, 5]
    elif "mrope_section" in text.rope_parameters:
        text.rope_parameters["mrope_section"] = [4, 6, 6]
    config.tie_word_embeddings = text.tie_word_embeddings = tied
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = tiny.MODELS[family](config)
    model.generation_config.eos_token_id = [words.eos_token_id, words.pad_token_id]
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    (words if family in tiny.TEXT_ONLY else tiny.processor(family)).save_pretrained(folder)
    return folder
