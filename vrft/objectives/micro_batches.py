"""Micro-batches: which groups pass the model together, by number or by a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from vrft.objectives.types import Batch, Learner
from vrft.processes import exchange

Pass = tuple[list[int], float]
"""The rows of a batch that pass the model together, and the weight of their loss."""


def passes(run: Learner, batch: Batch, rows: Sequence[int]) -> list[Pass]:
    """Return these rows in micro-batches of weight 1, as many on every device.

    A device with fewer micro-batches than another adds passes of weight 0 over the group whose
    completions are shortest.
    """
    config = run.config.train
    if config.max_tokens_per_micro_batch:
        tokens = [  # a prompt counts once: its group shares it
            run.policy.length(rewarded.encoded) + int(lengths.sum())
            for rewarded, lengths in zip(batch.groups, batch.lengths, strict=True)
        ]
        chunks = by_tokens(rows, tokens, config.max_tokens_per_micro_batch)
    else:
        size = config.per_device_train_batch_size
        chunks = [list(rows[first : first + size]) for first in range(0, len(rows), size)]
    # Gradients are exchanged, and sharded weights gathered, in every pass: a device that makes
    # fewer of them would leave the others waiting for ever.
    missing = exchange.max_over_ranks(run.accelerator, len(chunks)) - len(chunks)
    shortest = int(batch.lengths.amax(1).argmin())
    return [(chunk, 1.0) for chunk in chunks] + [([shortest], 0.0)] * missing


def by_tokens(rows: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Return micro-batches of at most ``budget`` tokens: first fit, the longest rows first.

    ``tokens`` counts those of every group of the batch, in or out of ``rows``. A group that is
    over the budget by itself goes alone.
    """
    chunks: list[list[int]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: tokens[row], reverse=True):
        place = next((i for i, left in enumerate(room) if tokens[row] <= left), len(chunks))
        if place == len(chunks):
            chunks.append([])
            room.append(budget)
        chunks[place].append(row)
        room[place] -= tokens[row]
    return chunks
