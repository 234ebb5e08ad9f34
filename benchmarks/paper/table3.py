"""Table 3: the methods against each other, here on the demo of mathematics without pictures.

python -m benchmarks.paper.table3 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.study import Arm, Claim, Study

OTHERS = ("grpo", "dr_grpo", "dapo", "rloo", "reinforce_pp", "ppo")

STUDY = Study(
    "table3",
    "math",
    "demo_math",
    (
        Arm("gpg", ("algorithm=gpg",)),
        Arm("gpg of version 1", ("algorithm.f_norm=group_std", "algorithm.alpha=false")),
        *(Arm(name, (f"algorithm={name}",)) for name in OTHERS),
        # its greedy completion counts as one of the eight
        Arm("remax", ("algorithm=remax", "algorithm.num_generations=7")),
    ),
    tuple(Claim("gpg", name) for name in ("gpg of version 1", "grpo", "dr_grpo")),
    title="Table 3: methods",
    text=(
        "Table 3 of the paper compares GRPO, Dr. GRPO and GPG with Qwen2.5-Math-7B; a later one "
        "has GPG without dividing by the deviation, and with alpha. Here: sums, the embedded "
        "model, every method with the defaults of its paper and its own best learning rate of "
        f"{', '.join(f'{factor:g}' for factor in study.GRID)} times the demo's, found on other "
        "questions with another seed. Every step draws the same number of completions, except "
        "that DAPO draws again for groups without signal, which the column of epochs shows."
    ),
)


if __name__ == "__main__":
    sys.exit(study.main(STUDY, __doc__.splitlines()[0]))
