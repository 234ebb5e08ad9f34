"""The arms that several tables share, so that each is trained once."""

from __future__ import annotations

from benchmarks.paper.study import Arm

GPG = Arm("gpg", ("algorithm=gpg",))
"""As the demo configurations have it: no division by the deviation, corrected by alpha."""

VERSION_1 = ("algorithm.f_norm=group_std", "algorithm.alpha=false")
"""Eq. 5 and 6 of the paper's first version."""

GPG_V1 = Arm("gpg v1", VERSION_1)

GRPO = Arm("grpo", ("algorithm=grpo",))

STEPS = {
    "math": 30,
    "fewshot_classification": 50,
    "geoqa": 40,
    "spatial": 40,
    "lisa_grounding": 60,
}
"""Steps of training by task: so few that the best arms do not all reach the ceiling."""
