"""The measurement of one command, kept as JSON: the only source of RESULTS.md."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import publishing
from benchmarks.speed.growth import Point
from benchmarks.speed.kernels import Kernel
from benchmarks.speed.learning import Comparison
from benchmarks.speed.levers import Trial
from benchmarks.speed.memory import Memory
from benchmarks.speed.operators import Profile
from benchmarks.speed.prefixes import Update
from benchmarks.speed.race import Race
from vrft.checks.environment import versions_and_devices
from vrft.config import coercion
from vrft.evaluation.settings_file import write_json

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

VERSIONS = ("vrft", "torch", "transformers", "trl", "accelerate", "platform", "cpu cores")
"""The entries of ``vrft env`` on which times depend."""


@dataclass(frozen=True)
class Measurement:
    """Everything that one command measured on a device, and where.

    ``mode`` is the option that it was run with, such as "quick". ``bed`` is what was learnt, "" for
    the demo. ``shape`` is the model's, "" where it is the one that the mode has on a CPU;
    ``seconds`` are those of the whole command.
    """

    mode: str
    device: str
    shape: str = ""
    hardware: str = ""
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    races: tuple[Race, ...] = ()
    memory: Mapping[str, Memory] = field(default_factory=dict)
    learning: tuple[Comparison, ...] = ()
    levers: tuple[Trial, ...] = ()
    growth: tuple[Point, ...] = ()
    prefixes: tuple[Update, ...] = ()
    profiles: tuple[Profile, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    bed: str = ""

    @property
    def name(self) -> str:
        """Return the name of its files."""
        return "-".join(filter(None, (self.device, self.mode, self.shape, self.bed)))


def keep(measurement: Measurement, seconds: float) -> Path:
    """Write a measurement, with the place where it was made, over an older one of its name."""
    located = dataclasses.replace(
        measurement,
        hardware=hardware(measurement.device),
        commit=publishing.commit(),
        versions=publishing.versions(VERSIONS),
        seconds=seconds,
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{located.name}.json"
    write_json(path, dataclasses.asdict(located))
    return path


def hardware(device: str) -> str:
    """Return the name of the processor that computes."""
    if device == "cuda":
        return versions_and_devices()["devices"]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        # outside of Linux
        return platform.processor() or platform.machine()
    # one entry for each core
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def read_all(folder: Path = RESULTS) -> list[Measurement]:
    """Return all measurements that are kept."""
    # coercion checks every key and type: a file of an older form is refused by name
    return [
        coercion.build(Measurement, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.json"))
    ]
