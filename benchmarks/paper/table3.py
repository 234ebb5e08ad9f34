"""Table 3: the methods against each other, on sums without pictures and on photographs.

python -m benchmarks.paper.table3 [--budget MINUTES] [--seeds 42 43 ...] [--tasks math ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.arms import CLASSIFICATION, GPG, GPG_V1, GRPO, MATH
from benchmarks.paper.study import Arm, Claim, Study

ARMS = (
    GPG,
    GPG_V1,
    GRPO,
    *(
        Arm(name, (f"algorithm={name}",))
        for name in ("dr_grpo", "dapo", "rloo", "reinforce_pp", "ppo")
    ),
    # its greedy completion counts as one of the eight
    Arm("remax", ("algorithm=remax", "algorithm.num_generations=7")),
)

CLAIMS = tuple(Claim("gpg", name) for name in ("gpg v1", "grpo", "dr_grpo"))

TEXT = (
    "Every method has the defaults of its paper and its own best learning rate. Every step draws "
    "the same number of completions, except that DAPO draws again for groups without signal, "
    "which the column of epochs shows."
)

STUDIES = (
    Study(
        "table3_math",
        MATH,
        ARMS,
        CLAIMS,
        title="Table 3: methods, on sums",
        text="Table 3 of the paper compares GRPO, Dr. GRPO and GPG with Qwen2.5-Math-7B; a later "
        "one has GPG without dividing by the deviation, and with alpha (`gpg` here). " + TEXT,
    ),
    Study(
        "table3_visual",
        CLASSIFICATION,
        ARMS,
        CLAIMS,
        title="Table 3: methods, on photographs",
        text="The same arms on the demo of few-shot classification. " + TEXT,
    ),
)


if __name__ == "__main__":
    sys.exit(study.main(STUDIES, __doc__.splitlines()[0]))
