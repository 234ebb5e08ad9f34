"""Tables 5 to 8: untrained, SFT, GRPO and GPG on the demos of the paper's four visual tasks.

python -m benchmarks.paper.table5 [--budget MINUTES] [--seeds 42 43 ...] [--tasks geoqa ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.arms import CLASSIFICATION, GEOQA, GPG, GROUNDING, GRPO, SPATIAL
from benchmarks.paper.study import Arm, Claim, Study

STUDIES = tuple(
    Study(
        f"table5_{plan.task}",
        plan,
        (GPG, GRPO, Arm("sft", ("algorithm=sft",))),
        (Claim("gpg", "grpo"), Claim("gpg", "sft")),
        title=f"Tables 5 to 8: the demo of {plan.task}",
        text="SFT takes as many steps of as many questions as GPG, with one answer to each.",
    )
    for plan in (CLASSIFICATION, GEOQA, SPATIAL, GROUNDING)
)


if __name__ == "__main__":
    sys.exit(study.main(STUDIES, __doc__.splitlines()[0]))
