"""Tables 5 to 8: untrained, SFT, GRPO and GPG on the demos of the paper's four visual tasks.

python -m benchmarks.paper.table5 [--budget MINUTES] [--seeds 42 43 ...] [--tasks geoqa ...]
"""

from __future__ import annotations

import sys

from benchmarks.paper import study
from benchmarks.paper.arms import GPG, GRPO, STEPS
from benchmarks.paper.study import Arm, Claim, Study

BENCHMARKS = {
    "fewshot_classification": "demo_fewshot_classification",
    "geoqa": "demo_geoqa",
    "spatial": "demo_spatial",
    "lisa_grounding": "demo_grounding",
}

STUDIES = tuple(
    Study(
        f"table5_{task}",
        task,
        benchmark,
        STEPS[task],
        (GPG, GRPO, Arm("sft", ("algorithm=sft",))),
        (Claim("gpg", "grpo"), Claim("gpg", "sft")),
        title=f"Tables 5 to 8: the demo of {task}",
        text="SFT takes as many steps of as many questions as GPG, with one answer to each; "
        "learning rates searched as for Table 3.",
    )
    for task, benchmark in BENCHMARKS.items()
)


if __name__ == "__main__":
    sys.exit(study.main(STUDIES, __doc__.splitlines()[0]))
