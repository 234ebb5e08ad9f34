"""Tables 5 to 8: untrained, SFT, GRPO and GPG on the demos of the paper's four visual tasks.

python -m benchmarks.paper.table5 [--budget MINUTES] [--seeds 42 43 ...]
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from benchmarks.paper import experiment, study
from benchmarks.paper.study import Arm, Claim, Study

TASKS = {
    "spatial": "demo_spatial",
    "geoqa": "demo_geoqa",
    "fewshot_classification": "demo_fewshot_classification",
    "lisa_grounding": "demo_grounding",
}

ARMS = tuple(Arm(name, (f"algorithm={name}",)) for name in ("gpg", "grpo", "sft"))

STUDIES = tuple(
    Study(
        f"table5_{task}",
        task,
        benchmark,
        ARMS,
        (Claim("gpg", "grpo"), Claim("gpg", "sft")),
        title=f"Tables 5 to 8: the demo of {task}",
        text="SFT takes as many steps of as many questions as GPG, with one answer to each; "
        "learning rates searched as for Table 3.",
    )
    for task, benchmark in TASKS.items()
)


def main() -> int:
    """Measure the four tasks, one after the other, within one budget."""
    from benchmarks.paper import report

    parser = experiment.arguments(__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()
    means, complete = experiment.means(options), True
    deadline = time.monotonic() + 60 * means.budget
    for one in STUDIES:
        if one.task in options.tasks:
            left = (deadline - time.monotonic()) / 60
            rows = study.run(one, options.seeds, replace(means, budget=left))
            complete &= len(rows) == len(one.arms) * len(options.seeds)
            print(study.table(rows))
            print(study.verdicts(one, rows))
    report.publish()
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
