"""Prompts that were drawn and their rollouts, also as rows of a checkpoint's file.

The rows are for the step that has not used them yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.types import Completion, Prompt, Rollout, Sample, View

ROLLOUTS = "rollouts.json"
"""The file of a checkpoint with the rollouts that no step has used yet, of ``rollout.ahead``."""


@dataclass(frozen=True)
class Drawn:
    """A sample of the shuffled stream, its prompt as text and encoded, and its rollouts' seed."""

    sample: Sample[Any]
    seed: int
    prompt: Prompt
    encoded: Any


@dataclass(frozen=True)
class Sampled:
    """The G rollouts of a prompt, and its greedy one where the baseline needs it."""

    rollouts: tuple[Rollout, ...]
    greedy: tuple[Rollout, ...] = ()


def rows_of(drawn: Sequence[Drawn], sampled: Sequence[Sampled]) -> list[dict[str, Any]]:
    """Return a row for each prompt, named by its seed, which tells its place in the stream."""
    return [
        {"seed": draw.seed, "sample_id": draw.sample.id, **asdict(rollouts)}
        for draw, rollouts in zip(drawn, sampled, strict=True)
    ]


def read(path: Path, drawn: Sequence[Drawn]) -> list[Sampled]:
    """Return the rollouts of the prompts that a file of rows has, in the order of the prompts.

    Raises UserError for a file that holds no such rows.
    """
    try:
        rows = {row["seed"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
        kept = [rows.get(draw.seed) for draw in drawn]
        return [
            Sampled(*(tuple(map(rollout_of, row[name])) for name in ("rollouts", "greedy")))
            for draw, row in zip(drawn, kept, strict=True)
            if row is not None and row["sample_id"] == draw.sample.id
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: no rollouts of a run ({error!r}); delete this checkpoint to resume from the "
            "one before"
        ) from error


def rollout_of(row: Mapping[str, Any]) -> Rollout:
    """Return the rollout of a row that ``asdict`` made."""
    text, views, tokens = (row["completion"][name] for name in ("text", "views", "tokens"))
    logprobs = row["logprobs"]
    return Rollout(
        Completion(text, tuple(View(**view) for view in views), tokens),
        tuple(row["tokens"]),
        row["finished"],
        None if logprobs is None else tuple(logprobs),
    )
