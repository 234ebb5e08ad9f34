"""The condition of the race: given the same completions, both sides find the same gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.speed.contestant import Record
from vrft.errors import UserError


@dataclass(frozen=True)
class Equality:
    """The distance of two updates.

    ``logps`` is the largest difference of a log-probability, ``cosine`` that of the angle between
    the gradients, ``gradient`` the norm of their difference divided by the norm of TRL's.
    """

    logps: float
    cosine: float
    gradient: float


EXACT = Equality(logps=1e-4, cosine=0.99999, gradient=1e-3)
"""The distance that float32 may have."""

ROUNDED = Equality(logps=0.3, cosine=0.99, gradient=0.15)
"""The distance that bfloat16 may have, where the order of a sum decides what is lost."""


def compare(theirs: Record, ours: Record, skipped: int = 0) -> Equality:
    """Return the distance of two recorded updates.

    Our side leaves out ``skipped`` completions, those of tied groups, whose gradient is zero.
    Raises UserError if they are of different parameters or completions, or have none.
    """
    same_weights = theirs.gradient.keys() == ours.gradient.keys()
    same_texts = ours.logps.keys() <= theirs.logps.keys()
    all_texts = len(theirs.logps) - len(ours.logps) == skipped
    if not (same_weights and ours.logps and same_texts and all_texts):
        raise UserError("the two sides have not trained the same parameters on the same texts")
    # float64: the norms are sums over millions of squares
    first = torch.cat([theirs.gradient[name].flatten() for name in theirs.gradient]).double()
    second = torch.cat([ours.gradient[name].flatten() for name in theirs.gradient]).double()
    return Equality(
        max(float((theirs.logps[key] - ours.logps[key]).abs().max()) for key in ours.logps),
        float(first @ second / (first.norm() * second.norm())),
        float((first - second).norm() / first.norm()),
    )


def require(equality: Equality, allowed: Equality) -> None:
    """Raise UserError where two updates are further apart than allowed: nothing is timed then."""
    near = equality.logps <= allowed.logps and equality.gradient <= allowed.gradient
    # `not (...)`, as every comparison with NaN is false
    if not (near and equality.cosine >= allowed.cosine):
        raise UserError(f"the two sides do not compute the same: {equality}; nothing was timed")
