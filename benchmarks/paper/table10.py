"""Table 10 and the later table of GPG: how rewards are normalised, and a KL penalty.

python -m benchmarks.paper.table10 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.arms import GPG, GPG_V1, MATH, VERSION_1
from benchmarks.paper.study import Arm, Claim, Study

STUDY = Study(
    "table10",
    MATH,
    (
        GPG_V1,
        Arm("gpg v1, batch", ("algorithm.f_norm=batch_std", "algorithm.alpha=false")),
        Arm("gpg v1 + KL 0.04", (*VERSION_1, "algorithm.beta=0.04")),
        Arm("gpg without alpha", ("algorithm.f_norm=none", "algorithm.alpha=false")),
        GPG,
        Arm("gpg + beta_th 0.6", ("algorithm=gpg", "algorithm.min_informative=0.6")),
    ),
    (
        Claim("gpg v1", "gpg v1, batch"),
        Claim("gpg v1", "gpg v1 + KL 0.04"),
        Claim("gpg", "gpg v1"),
        Claim("gpg", "gpg without alpha"),
        Claim("gpg + beta_th 0.6", "gpg"),
    ),
    title="Table 10: normalisation and KL",
    text=(
        "Table 10 of the paper divides rewards by the deviation of the group (`gpg v1`) or of the "
        "batch, and adds a KL penalty; a later table divides by nothing, corrects with alpha "
        "(`gpg`), and samples again (beta_th). Here: sums."
    ),
)


if __name__ == "__main__":
    sys.exit(study.main([STUDY], __doc__.splitlines()[0]))
