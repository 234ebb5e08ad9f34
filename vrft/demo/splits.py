"""Splits of the demo data sets: the random stream of each, and the content that belongs to it.

Nothing here may change: the embedded models were taught on what these functions give.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, split: str) -> np.random.Generator:
    """Return the random generator of one split; every pair of seed and name has its own stream."""
    # crc32, because Python salts its own hash of a text anew in every process.
    return np.random.default_rng([seed, zlib.crc32(split.encode())])


def split_by_hash(content: str, parts: int) -> str:
    """Return the only split, train, val or test, that may show a content.

    The content's hash falls into one of ``parts`` equal parts: the first is val, the next two are
    test, all others train.
    """
    # The seed plays no part: lessons of a cold start are written from other seeds than the demo
    # data, and must still contain nothing of its test split.
    part = zlib.crc32(content.encode()) % parts
    return {0: "val", 1: "test", 2: "test"}.get(part, "train")
