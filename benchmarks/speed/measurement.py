"""What one command measured, kept as JSON: the only source of RESULTS.md."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.publishing import commit
from benchmarks.speed.growth import Sweep
from benchmarks.speed.ladder import Rung
from benchmarks.speed.learning import Comparison
from benchmarks.speed.memory import Memory
from benchmarks.speed.pairs import Race
from vrft.cli.environment import versions_and_devices
from vrft.config import coercion
from vrft.evaluation.predictions import write_json

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

VERSIONS = ("vrft", "torch", "transformers", "trl", "accelerate", "platform", "cpu cores")


@dataclass(frozen=True)
class Measurement:
    """All that was measured with ``mode`` (an option of the command) on ``device``, and where.

    ``shape`` is the model's, where it is not the one that the mode has on a CPU.
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
    ladder: tuple[Rung, ...] = ()
    growth: tuple[Sweep, ...] = ()
    learning: tuple[Comparison, ...] = ()


def versions() -> dict[str, str]:
    """What the times may depend on."""
    found = versions_and_devices()
    return {name: found[name] for name in VERSIONS}


def hardware(device: str) -> str:
    """The name of the processor that computes."""
    if device == "cuda":
        return versions_and_devices()["devices"]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def keep(found: Measurement) -> Path:
    """Write it in the place of an older one of the same mode, device and shape."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name(found)}.json"
    write_json(path, dataclasses.asdict(found))
    return path


def name(found: Measurement) -> str:
    """What its files are called."""
    return "-".join(filter(None, (found.device, found.mode, found.shape)))


def kept(folder: Path = RESULTS) -> list[Measurement]:
    """All that is kept."""
    return [
        coercion.build(Measurement, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.json"))
    ]


__all__ = ["Measurement", "commit", "hardware", "keep", "kept", "name", "versions"]
