"""A small race for the tests of benchmarks/speed: a setting, two models, made-up measurements."""

from __future__ import annotations

from benchmarks.speed.contestant import Step
from benchmarks.speed.equality import Equality
from benchmarks.speed.learning import Comparison, Curve, Point
from benchmarks.speed.limit import Machine
from benchmarks.speed.measurement import Measurement
from benchmarks.speed.memory import Memory
from benchmarks.speed.race import Pair, Plan, Race
from benchmarks.speed.settings import SETTINGS, Setting
from benchmarks.speed.shapes import SHAPES, Shape

SETTING = Setting("test", "pictures", 12, 6, 3, 4, generations=4, prompts=2)
"""Two prompts with one picture of 12 image tokens (48 patches) each, and four completions of 6."""

SMALL = SHAPES["test"]
WIDE = Shape("wide", "qwen2_vl", 256, 1, 4, 2, 512, 1024, 32, 1, 2, 128)
"""A model whose layers have 2^17 weights and more, from which on a rollout repacks them."""

PLAN = Plan("cpu", pairs=1, least=1)


def step(seconds: float) -> Step:
    """Return a step whose update took half of its time."""
    quarters = dict.fromkeys(("rollout", "forward", "backward", "optimizer"), seconds / 4)
    return Step(seconds, {"preprocessing": 0.0} | quarters, {})


def measured() -> Measurement:
    """Return a race with two quiet pairs and a disturbed one, and the memory of both sides."""
    quiet = tuple(Machine(speed, 1e10) for speed in (1.0e9, 0.9e9, 0.95e9))
    noisy = tuple(Machine(speed, 1e10) for speed in (1.0e9, 0.5e9, 1.0e9))
    pairs = (
        Pair(step(12.0), step(2.0), quiet),
        Pair(step(16.0), step(2.0), quiet),
        Pair(step(90.0), step(1.0), noisy),
    )
    counts = {"theirs": {"rows": 16}, "ours": {"rows": 2}}
    equality = Equality(1e-6, 1.0, 1e-7)
    lisa = Race(SETTINGS["lisa"], SMALL, "cpu", False, 632, equality, counts, pairs)
    versions = {"torch": "2", "trl": "1"}
    memory = {"theirs": Memory(100, 500), "ours": Memory(100, 200)}
    return Measurement(
        "quick", "cpu", "", "a processor", "abc1234", versions, 60.0, (lisa,), memory
    )


def curve(side: str, *points: tuple[float, float]) -> Curve:
    """Return a curve through points of (seconds, reward)."""
    return Curve(side, 1, tuple(Point(number, *point) for number, point in enumerate(points)))


def compared(ours: float, reward: float = 2.0) -> Comparison:
    """Return a comparison: TRL reaches its goal, 1.8, after 12 s; we end after ``ours`` s."""
    theirs = curve("theirs", (0, 1.0), (15, 2.0))
    return Comparison(curve("ours", (0, 1.0), (ours, reward)), theirs)
