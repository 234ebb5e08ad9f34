"""The launches of a run: with which versions, on how many devices, and how the model read its text.

``launches.json`` in the run's folder has an object for each start of the run, with the step from
which it went on. What differs at the next start is printed; a tokenizer, a chat template or a
picture's preprocessing that differs is refused: the model would read its prompts otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vrft import launched
from vrft.errors import UserError
from vrft.evaluation.fingerprint import digest
from vrft.system import durable

NAME = "launches.json"

PACKAGES = ("vrft", "torch", "transformers", "peft", "accelerate", "trl")
"""The packages whose versions a run tells apart."""

PROBE = "Where is the 3rd cat?  <b>\n\tÄpfel, 猫 и кот 🐱 (12.50, 7)\n"
"""A text whose tokens tell tokenizers with the same vocabulary apart."""

READINGS = {
    "tokenizer": "tokenizer",
    "template": "chat template",
    "pictures": "preprocessing of pictures",
}
"""What decides how a model reads a prompt, and its name in a message."""

EXPLAINED = {
    "processes": "prompts and their seeds stay the same, gradients but for rounding; dropout draws "
    "anew, and of groups that are sampled again each process keeps its own",
    "precision": "numbers of the steps to come differ by rounding",
}
"""What a change means, where its name does not tell."""


@dataclass(frozen=True)
class Launch:
    """One start of a run, from a step on."""

    step: int
    processes: int = 1
    engine: str = "one device"
    device: str = ""
    precision: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    readings: Mapping[str, str] = field(default_factory=dict)
    """A hash of each of READINGS; none for a model without a processor."""


def today(step: int, device: str, precision: str, processor: Any = None) -> Launch:
    """Return what this process's launch is; ``processor`` is that of the model, if it has one."""
    return Launch(
        step,
        launched.processes(),
        launched.engine(),
        device,
        precision,
        {name: known for name in PACKAGES if (known := version_of(name))},
        {} if processor is None else readings(processor),
    )


def version_of(package: str) -> str:
    """Return a package's version, "" for one that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def readings(processor: Any) -> dict[str, str]:
    """Return a hash of a processor's tokenizer, of its chat template, and of how it sees pictures.

    The limits of a picture's area are settings of the run and not among them.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    special = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    tokens = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    known = {
        "tokenizer": digest([sorted(tokenizer.get_vocab().items()), special, tokens]),
        "template": digest(template),
    }
    pictures = getattr(processor, "image_processor", None)
    if pictures is not None:
        names = ("patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std")
        values = [getattr(pictures, name, None) for name in names]
        known["pictures"] = digest([list(v) if isinstance(v, tuple) else v for v in values])
    return known


def read(run: Path) -> list[Launch]:
    """Read the launches of a run, in order; none of a run from before they were written down.

    Raises UserError for a file that is none of launches.
    """
    path = run / NAME
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        made = [Launch(**row) for row in rows]
        for launch in made:
            if type(launch.step) is not int or not isinstance(launch.versions, dict):
                raise TypeError("a step or versions of another type")
            if not isinstance(launch.readings, dict):
                raise TypeError("readings of another type")
        return made
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: not the launches of a run ({error}); delete it to go on without comparing "
            "versions and tokenizer"
        ) from error


def at(run: Path, step: int) -> Launch | None:
    """Return the launch by which a run has taken a step, or None where that is not written down."""
    made = [launch for launch in read(run) if launch.step <= max(step, 1)]
    return made[-1] if made else None


def write(run: Path, launch: Launch) -> None:
    """Add a launch to those of a run; later ones, whose steps are taken anew, are deleted."""
    made = [former for former in read(run) if former.step < launch.step]
    text = json.dumps([asdict(each) for each in [*made, launch]], indent=2)
    durable.write_text(run / NAME, text + "\n")


def changes(before: Launch, now: Launch) -> list[str]:
    """Return a text for each difference of two launches, such as ``torch: 2.12.0 -> 2.13.0``.

    What one of them does not tell is no difference.
    """
    pairs = {name: (before.versions.get(name), now.versions.get(name)) for name in PACKAGES}
    for name in ("processes", "engine", "device", "precision"):
        pairs[name] = (getattr(before, name), getattr(now, name))
    return [
        f"{name}: {old} -> {new}" + (f" ({EXPLAINED[name]})" if name in EXPLAINED else "")
        for name, (old, new) in pairs.items()
        if old and new and old != new
    ]


def check_readings(run: Path, before: Launch, now: Mapping[str, str], source: str) -> None:
    """Raise UserError if the model of ``source`` reads prompts otherwise than the run has."""
    other = [
        name
        for key, name in READINGS.items()
        if before.readings.get(key) not in (None, now.get(key))
    ]
    if not other:
        return
    newer = [name for name, old in before.versions.items() if version_of(name) != old]
    because = f" (other versions: {', '.join(newer)})" if newer else ""
    raise UserError(
        f"--resume {run}: the {' and the '.join(other)} of {source} differ from those that the run "
        f"has read its prompts with{because}; put back the files of the processor"
    )
