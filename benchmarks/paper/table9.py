"""Table 9: the size of the group, at equal numbers of prompts and at equal numbers of completions.

python -m benchmarks.paper.table9 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.study import Arm, Claim, Study
from vrft import config

SIZES = (2, 4, 8, 16)


def arms() -> tuple[Arm, ...]:
    """Every size with the demo's prompts a step, and with as many completions a step as G = 8."""
    prompts = config.load("demo/math").train.per_device_train_batch_size
    equal = (
        Arm(f"G {size}, equal prompts", (f"algorithm.num_generations={size}",)) for size in SIZES
    )
    return (
        *equal,
        *(
            Arm(
                f"G {size}, equal completions",
                (
                    f"algorithm.num_generations={size}",
                    f"train.per_device_train_batch_size={prompts * 8 // size}",
                ),
            )
            for size in SIZES
            if size != 8
        ),
    )


STUDY = Study(
    "table9",
    "math",
    "demo_math",
    arms(),
    tuple(
        Claim(f"G {large}, equal prompts", f"G {small}, equal prompts")
        for small, large in ((2, 4), (4, 8), (8, 16))
    ),
    title="Table 9: group size",
    text=(
        "Table 9 of the paper: the larger the group, the better. Larger groups sample more; the "
        "arms of equal completions have fewer prompts a step instead. Here: sums, the embedded "
        "model; learning rates searched as for Table 3."
    ),
)


if __name__ == "__main__":
    sys.exit(study.main(STUDY, __doc__.splitlines()[0]))
