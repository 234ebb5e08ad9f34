"""Pieces join exactly to the text, whatever bytes a token ends in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.models.token_pieces import TokenPieces, byte_of, token_bytes

TEXTS = [
    "the key is at (12,500)",
    "  two\n\tlines <b>",
    "猫 и кот 🐱 é",  # several bytes, and so several tokens, to a character
    "<think>it is</think>\n<answer>4</answer>",
    "the <|object_ref_start|>key<|object_ref_end|>",  # marks write nothing
]


def test_every_byte_has_a_letter_of_its_own() -> None:
    assert sorted(byte_of().values()) == list(range(256))
    assert token_bytes("Ġkey") == b" key"  # GPT-2's letter of a space
    assert token_bytes("<a b>") == b"<a b>"  # a space is no letter: the token was added


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text_in_every_family(
    family: str, text: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny(family)
    tokenizer: Any = loaded.tokenizer
    words = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = [*words, tokenizer.eos_token_id]
    written = tokenizer.decode(words, skip_special_tokens=True)
    lengths = TokenPieces(tokenizer, loaded.unwritten_ids).lengths(tokens, written)
    assert len(lengths) == len(tokens) and sum(lengths) == len(written)
    assert lengths[-1] == 0  # the end token writes nothing
    # Each piece is what its own tokens decode to, up to the place where the piece ends.
    for count in range(1, len(tokens) + 1):
        part = tokenizer.decode(words[:count], skip_special_tokens=True)
        assert part.rstrip("\ufffd") == written[: sum(lengths[:count])]


def test_a_character_that_was_cut_off_belongs_to_the_last_token(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    tokenizer: Any = load_tiny("qwen2").tokenizer
    tokens = tokenizer("a🐱", add_special_tokens=False)["input_ids"][:-1]
    text = tokenizer.decode(tokens)
    assert "\ufffd" in text
    lengths = TokenPieces(tokenizer, frozenset()).lengths(tokens, text)
    assert sum(lengths) == len(text) and lengths[-1] > 0


def test_a_text_that_the_tokens_do_not_write_has_no_pieces(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    tokenizer: Any = load_tiny("qwen2").tokenizer
    tokens = tokenizer("the key", add_special_tokens=False)["input_ids"]
    pieces = TokenPieces(tokenizer, frozenset())
    # The chat template had opened the thoughts: their tag is no token's.
    assert sum(pieces.lengths(tokens, "<think>\nthe key")) == len("the key")
    assert pieces.lengths(tokens, "another text") == []
    assert pieces.lengths([], "") == []
