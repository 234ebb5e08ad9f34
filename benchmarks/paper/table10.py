"""Table 10 and the later table of GPG: how rewards are normalised, and a KL penalty.

python -m benchmarks.paper.table10 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.study import Arm, Claim, Study

STUDY = Study(
    "table10",
    "math",
    "demo_math",
    (
        Arm("group", ("algorithm.f_norm=group_std", "algorithm.alpha=false")),
        Arm("batch", ("algorithm.f_norm=batch_std", "algorithm.alpha=false")),
        Arm(
            "group + KL 0.04",
            ("algorithm.f_norm=group_std", "algorithm.alpha=false", "algorithm.beta=0.04"),
        ),
        Arm("none", ("algorithm.f_norm=none", "algorithm.alpha=false")),
        Arm("none + alpha", ("algorithm.f_norm=none", "algorithm.alpha=true")),
        Arm(
            "none + alpha + beta_th 0.6",
            ("algorithm.f_norm=none", "algorithm.alpha=true", "algorithm.min_informative=0.6"),
        ),
    ),
    (
        Claim("group", "batch"),
        Claim("group", "group + KL 0.04"),
        Claim("none + alpha", "group"),
        Claim("none + alpha", "none"),
        Claim("none + alpha + beta_th 0.6", "none + alpha"),
    ),
    title="Table 10: normalisation and KL",
    text=(
        "Table 10 of the paper divides rewards by the deviation of the group or of the batch, and "
        "adds a KL penalty; a later table divides by nothing, corrects with alpha, and samples "
        "again (beta_th). Here: sums, the embedded model; learning rates searched as for Table 3."
    ),
)


if __name__ == "__main__":
    sys.exit(study.main(STUDY, __doc__.splitlines()[0]))
