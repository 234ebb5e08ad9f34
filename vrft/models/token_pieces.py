"""The pieces of a completion's text that its tokens have written, by the bytes of each token."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import cache
from typing import Any


@cache
def byte_of() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for, as GPT-2 chose them.

    A printable byte is its own letter; the others have the letters from U+0100 on, in their order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + number): byte for number, byte in enumerate(others)}


def token_bytes(name: str) -> bytes:
    """Return the bytes that a token of a byte-level vocabulary writes, by its name there."""
    letters = byte_of()
    if all(letter in letters for letter in name):
        return bytes(letters[letter] for letter in name)
    return name.encode()  # an added token, such as one with a space, stands as it is


class TokenPieces:
    """The pieces of texts that the tokens of one tokenizer write, but for ``unwritten`` ones."""

    def __init__(self, tokenizer: Any, unwritten: frozenset[int]) -> None:
        self.tokenizer, self.unwritten = tokenizer, unwritten

    def lengths(self, tokens: Sequence[int], text: str) -> list[int]:
        """Return how many characters (code points) of a completion's text each token has written.

        Their pieces, in order, are exactly the end of the text; before them stands only what the
        chat template had opened. An unwritten token has written none, and a character of
        several tokens belongs to the last of these. [] where the tokens do not add up so.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        names = self.tokenizer.convert_ids_to_tokens(list(tokens))
        pieces = [
            "" if token in self.unwritten else decoder.decode(token_bytes(name))
            for token, name in zip(tokens, names, strict=True)
        ]
        if pieces:
            pieces[-1] += decoder.decode(b"", final=True)  # bytes of a character that was cut off
        return [len(piece) for piece in pieces] if text.endswith("".join(pieces)) else []
