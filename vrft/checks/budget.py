"""The memory of a device over a step: what it holds all the time, and the peak on top of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vrft.checks.account import Peak
from vrft.checks.rehearsal import Rehearsal
from vrft.models.loaded import LoadedModel

STATE_BYTES = {"adamw_bnb_8bit": 2 + 2 * 4 / 256}
"""Bytes a weight of optimizers whose two moments are not in the weight's own type: bitsandbytes
holds a byte of each, and a float32 scale of 256 of them."""

HALVES = {"rollout": ("prefill", "decode"), "update": ("forward", "backward")}

NAMES = {
    "vision": "vision activations",
    "decoder": "language activations",
    "head": "logits",
    "cache": "rollout keys, values, states",
    "casts": "half-precision copies",
    "gradients": "gradients",
    "other": "other",
}
"""The words for the parts of a peak."""


@dataclass(frozen=True)
class Launch:
    """The devices of a launch, and the stage of ZeRO: 0 (copies), 2 or 3."""

    devices: int = 1
    zero: int = 0


@dataclass(frozen=True)
class States:
    """The bytes that one device holds from step to step.

    ``whole`` are the weights as a forward pass needs them, of which ZeRO-3 holds a share.
    """

    weights: float
    optimizer: float
    gradients: float
    reference: float = 0.0
    whole: float = 0.0
    buckets: float = 0.0
    """A copy of the gradients in which devices exchange them."""


@dataclass(frozen=True)
class Budget:
    """The peak memory of each half of a step, in bytes by part; ``peak`` is the larger sum."""

    rollout: dict[str, float] = field(default_factory=dict)
    update: dict[str, float] = field(default_factory=dict)

    @property
    def peak(self) -> float:
        """Return the most bytes that are held at one time."""
        return max(sum(self.rollout.values()), sum(self.update.values()))


def states(
    loaded: LoadedModel, launch: Launch, state_bytes: float | None = None, *, half: bool = False
) -> States:
    """Return what one device holds of a model that is trained.

    ``state_bytes`` are those of the optimizer for each trained weight; None for AdamW's two
    moments, each in the type of the weight. ``half`` says that the launch computes in half
    precision: ZeRO then steps a float32 copy of the weights and two moments of it.
    """
    parameters = list(loaded.model.parameters())
    trained = [weight for weight in parameters if weight.requires_grad]
    whole = float(sum(weight.nbytes for weight in parameters))
    gradients = float(sum(weight.nbytes for weight in trained))
    optimizer = 2 * gradients
    if state_bytes is not None:
        optimizer = state_bytes * sum(weight.numel() for weight in trained)
    if launch.zero:
        optimizer = sum(weight.numel() for weight in trained) * (12.0 if half else 8.0)
    share = launch.devices
    return States(
        weights=whole / share if launch.zero == 3 else whole,
        optimizer=optimizer / share if launch.zero else optimizer,
        gradients=gradients / share if launch.zero >= 2 else gradients,
        whole=whole,
        buckets=gradients if share > 1 and not launch.zero else 0.0,
    )


def budget(rehearsal: Rehearsal, held: States, launch: Launch) -> Budget:
    """Return the peaks of a device that holds ``held`` and takes the step that was rehearsed."""
    constant = {
        "weights": held.weights,
        "optimizer": held.optimizer,
        "reference model": held.reference,
        "exchange of gradients": held.buckets,
    }
    constant = {name: size for name, size in constant.items() if size}
    rollout, update = ({}, {})
    share = launch.devices if launch.zero >= 2 else 1
    if peaks := present(rehearsal.peaks, "rollout"):
        rollout = constant | parts(max(peaks, key=lambda peak: peak.total), share)
        if launch.zero == 3:  # gathered for the whole rollout
            rollout["gathered weights"] = held.whole
    candidates = [constant | parts(peak, share) for peak in present(rehearsal.peaks, "update")] + [
        constant | {"gradients": held.gradients}
    ]
    update = max(candidates, key=lambda candidate: sum(candidate.values()))
    return Budget(rollout, update)


def present(peaks: Mapping[str, Peak], half: str) -> list[Peak]:
    """Return the peaks of the phases of half a step that were rehearsed."""
    return [peaks[phase] for phase in HALVES[half] if phase in peaks]


def parts(peak: Peak, share: int) -> dict[str, float]:
    """Return a peak by the words for its parts; gradients are divided over ``share`` devices."""
    sizes: Counter[str] = Counter()
    for place, size in peak.by_place.items():
        sizes[NAMES[place.part]] += size
    return {
        name: size / share if name == "gradients" else float(size) for name, size in sizes.items()
    }
