"""Both sides given the same completions must find the same log-probabilities and gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vrft.errors import UserError

Logps = Mapping[tuple[int, ...], Tensor]
"""Log-probabilities [C] of completions, by their token ids."""


@dataclass(frozen=True)
class Equality:
    """How near two updates are.

    ``logps`` is the largest difference of a log-probability, ``cosine`` that of the gradients,
    ``gradient`` the norm of their difference over that of TRL's.
    """

    logps: float
    cosine: float
    gradient: float


EXACT = Equality(logps=1e-4, cosine=0.99999, gradient=1e-3)
"""How near float32 must be."""

ROUNDED = Equality(logps=0.3, cosine=0.99, gradient=0.15)
"""How near bfloat16 must be, whose sums differ with their order."""


def compare(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], their_logps: Logps, our_logps: Logps
) -> Equality:
    """The differences of two updates; UserError if they are of different parameters or texts."""
    if theirs.keys() != ours.keys() or not our_logps or their_logps.keys() != our_logps.keys():
        raise UserError("the two sides have not trained the same parameters on the same texts")
    first = torch.cat([theirs[name].flatten() for name in theirs]).double()
    second = torch.cat([ours[name].flatten() for name in theirs]).double()
    return Equality(
        max(float((their_logps[key] - our_logps[key]).abs().max()) for key in our_logps),
        float(first @ second / (first.norm() * second.norm())),
        float((first - second).norm() / first.norm()),
    )


def require(found: Equality, allowed: Equality) -> None:
    """UserError where two updates are further apart than allowed: nothing is timed then."""
    near = found.logps <= allowed.logps and found.gradient <= allowed.gradient
    if not near or found.cosine < allowed.cosine:
        raise UserError(f"the two sides do not compute the same: {found}; nothing was timed")
