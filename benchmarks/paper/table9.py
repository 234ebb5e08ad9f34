"""Table 9: the size of the group, at equal numbers of prompts and at equal numbers of completions.

python -m benchmarks.paper.table9 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys
from itertools import pairwise

from benchmarks.paper import study
from benchmarks.paper.arms import GPG, MATH
from benchmarks.paper.study import Arm, Claim, Study
from vrft import config

DEMO = config.load("demo/math")


def arm(size: int, prompts: int) -> Arm:
    """GPG with groups of a size and so many prompts a step; the demo's own is ``GPG``."""
    if (size, prompts) == (
        DEMO.algorithm.num_generations,
        DEMO.train.per_device_train_batch_size,
    ):
        return GPG
    settings = [f"algorithm.num_generations={size}", f"train.per_device_train_batch_size={prompts}"]
    return Arm(f"gpg, G {size}, {prompts} prompts", ("algorithm=gpg", *settings))


EQUAL_PROMPTS = tuple(arm(size, 16) for size in (2, 4, 8, 16))
EQUAL_COMPLETIONS = tuple(arm(size, 128 // size) for size in (2, 4, 16))

STUDY = Study(
    "table9",
    MATH,
    (*EQUAL_PROMPTS, *EQUAL_COMPLETIONS),
    tuple(Claim(large.name, small.name) for small, large in pairwise(EQUAL_PROMPTS)),
    title="Table 9: group size",
    text=(
        "Table 9 of the paper: the larger the group, the better. Larger groups sample more; the "
        "arms of 128 completions a step have fewer or more prompts instead. `gpg` has 16 prompts "
        "and G = 8. Here: sums."
    ),
)


if __name__ == "__main__":
    sys.exit(study.main([STUDY], __doc__.splitlines()[0]))
