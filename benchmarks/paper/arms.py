"""The arms that several tables share, so that each is trained once, and how each task is."""

from __future__ import annotations

from benchmarks.paper.study import Arm, Plan

GPG = Arm("gpg", ("algorithm=gpg",))
"""As the demo configurations have it: no division by the deviation, corrected by alpha."""

VERSION_1 = ("algorithm.f_norm=group_std", "algorithm.alpha=false")
"""Eq. 5 and 6 of the paper's first version."""

GPG_V1 = Arm("gpg v1", VERSION_1)

GRPO = Arm("grpo", ("algorithm=grpo",))

# So few steps that the best arms do not all reach the ceiling: the embedded model needs few to
# drop its habit in sums.
MATH = Plan("math", "demo_math", 8, (0.125, 0.25, 0.5, 1.0))
CLASSIFICATION = Plan("fewshot_classification", "demo_fewshot_classification", 50)
GEOQA = Plan("geoqa", "demo_geoqa", 40)
SPATIAL = Plan("spatial", "demo_spatial", 40)
GROUNDING = Plan("lisa_grounding", "demo_grounding", 60)
