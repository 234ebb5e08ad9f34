"""The beds: a task, a tiny model that is competent at it and no more, and how long runs are.

A start is made by fine-tuning random weights on right answers, stopped short of convergence. It is
made once (``python -m benchmarks.replication start BED``) and kept in starts/, as other machines
round differently and would stop at another model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.replication.arms import CLAIMS, Arm, Claim
from benchmarks.replication.ledger import HERE
from benchmarks.replication.search import grid_of
from vrft.demo.course import Size, Vocabulary
from vrft.demo.tiny_configs import Family
from vrft.paths import EMBEDDED


@dataclass(frozen=True)
class Bed:
    """A task with its start: at most ``lesson_steps`` steps of ``lessons`` answers each, until a
    share ``competent`` of questions is answered; ``ceiling_steps`` more show what can be reached.

    A run takes ``steps`` steps of ``prompts`` prompts; the rate rises over the first
    ``warmup_steps`` of them. ``first_rate`` and ``first_supervised_rate`` are the lowest of the
    three rates with which a search begins. ``rows`` and ``held_out`` are the task's settings of the
    same names. Runs are for ``claims``. A bed with an ``embedded`` model begins with that one, and
    its own start is never made.
    """

    name: str
    family: Family
    size: Size
    vocabulary: Vocabulary
    lesson_steps: int
    competent: float
    lessons: int
    lesson_rate: float
    ceiling_steps: int
    steps: int
    prompts: int
    warmup_steps: int
    first_rate: float
    first_supervised_rate: float
    max_completion_length: int
    rows: int
    held_out: int
    claims: tuple[Claim, ...] = CLAIMS
    embedded: str | None = None

    @property
    def task(self) -> Path:
        """Return the file of the task."""
        return HERE / f"{self.name}.py"

    @property
    def start(self) -> Path:
        """Return the folder of the start."""
        return EMBEDDED[self.embedded] if self.embedded else HERE / "starts" / self.name

    def rates(self, arm: Arm) -> list[float]:
        """Return the rates with which an arm's search begins, ascending."""
        return grid_of(self.first_supervised_rate if arm.supervised else self.first_rate, 3)


WALKS = Bed(
    name="walks",
    family="qwen2",
    size=Size(64, 192, 2, 2, 2, 32, 1, 1),
    vocabulary=Vocabulary(("system\n user\n assistant\nassistant user system",), numbers=False),
    lesson_steps=180,
    competent=0.35,
    lessons=64,
    lesson_rate=2e-3,
    ceiling_steps=300,
    steps=150,
    prompts=64,
    warmup_steps=15,
    first_rate=4e-4,
    first_supervised_rate=5e-4,
    max_completion_length=24,
    rows=10_000,
    held_out=1000,
)

SCENES = Bed(
    name="scenes",
    family="qwen2_vl",
    size=Size(64, 192, 2, 2, 2, 48, 2, 3),
    vocabulary=Vocabulary(
        (
            "system\n user\n assistant\nassistant user system",
            "read",
        ),
        numbers=False,
    ),
    lesson_steps=240,
    competent=0.35,
    lessons=64,
    lesson_rate=1e-3,
    ceiling_steps=300,
    steps=180,
    prompts=64,
    warmup_steps=18,
    first_rate=2e-4,
    first_supervised_rate=5e-4,
    max_completion_length=12,
    rows=10_000,
    held_out=1000,
)

GROUNDING = Bed(
    name="grounding",
    family="qwen2_vl",
    size=Size(128, 384, 4, 4, 2, 96, 4, 3),
    vocabulary=Vocabulary(()),
    lesson_steps=0,
    competent=0.0,
    lessons=32,
    lesson_rate=1e-4,
    ceiling_steps=200,
    steps=80,
    prompts=16,
    warmup_steps=8,
    first_rate=1e-4,
    first_supervised_rate=5e-5,
    max_completion_length=40,  # the longest right answer has 29 tokens
    rows=2000,
    held_out=200,
    # base < SFT < GRPO <= GPG.
    claims=CLAIMS[:3],
    embedded="demo",
)

BEDS = {bed.name: bed for bed in (WALKS, SCENES, GROUNDING)}


def fingerprint(start: Path) -> str:
    """Return twelve hexadecimal digits that stand for the weights of a model's folder."""
    digest = hashlib.sha256((start / "model.safetensors").read_bytes())
    return digest.hexdigest()[:12]
