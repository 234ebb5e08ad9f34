"""The memory of a device over a step: what it holds all the time, and the peak on top of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vrft.config.schema import Config
from vrft.models import quantization
from vrft.models.folders import is_adapter
from vrft.step_plans.account import Peak
from vrft.step_plans.rehearsal import Rehearsal

STATE_BYTES = {"adamw_bnb_8bit": 2 + 2 * 4 / 256}
"""Bytes a weight of optimizers whose two moments are not in the weight's own type: bitsandbytes
holds a byte of each, and a float32 scale of 256 of them."""

SMALL = 4096
"""Weights of fewer numbers, whose moments such an optimizer holds in float32."""

BUCKET, LIVE = 50_000_000, 200_000_000
"""Numbers that DeepSpeed exchanges at a time, and that ZeRO-3 has whole beside the layer that
computes, as configs/deepspeed/*.json set them."""

HALVES = {"rollout": ("prefill", "decode"), "update": ("forward", "backward")}

NAMES = {
    "vision": "vision activations",
    "kept": "vision passes kept",
    "decoder": "language activations",
    "head": "logits",
    "cache": "rollout keys, values, states",
    "casts": "half-precision copies",
    "copies": "rollout copies of weights",
    "gradients": "gradients",
    "other": "other",
}
"""The words for the parts of a peak."""


@dataclass(frozen=True)
class Devices:
    """The devices of a launch, and how they share what is held.

    ``zero`` is the stage of DeepSpeed's ZeRO: 0 (copies, without DeepSpeed), 2 or 3; with ``fsdp``
    FSDP2 cuts everything into parts. ``offload``: DeepSpeed holds the optimizer's state, and with
    stage 3 the parts of weights, in the machine's memory.
    """

    devices: int = 1
    zero: int = 0
    fsdp: bool = False
    offload: bool = False

    @property
    def cuts_weights(self) -> bool:
        """Return whether a device holds a share of the weights."""
        return self.zero == 3 or self.fsdp

    @property
    def cuts_gradients(self) -> bool:
        """Return whether a device holds a share of the gradients."""
        return self.zero >= 2 or self.fsdp


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
    """The copies of gradients in which devices exchange them."""
    live: float = 0.0
    """Weights that ZeRO-3 has whole at a time in an update."""
    gradient_share: float = 1.0
    """Bytes that this device holds of a byte of gradients that the pass makes: DeepSpeed adds up
    its share in float32."""
    host: float = 0.0
    """Bytes of this device's share that lie in the machine's memory instead."""

    @property
    def total(self) -> float:
        """Return what lies on the device, without the copy in which gradients are exchanged."""
        return self.weights + self.optimizer + self.gradients + self.reference


@dataclass(frozen=True)
class PeakMemory:
    """The peak memory of each half of a step, in bytes by part; ``peak`` is the larger sum."""

    rollout: dict[str, float] = field(default_factory=dict)
    update: dict[str, float] = field(default_factory=dict)

    @property
    def peak(self) -> float:
        """Return the most bytes that are held at one time."""
        return max(sum(self.rollout.values()), sum(self.update.values()))


def states(
    parameters: Iterable[Tensor], launch: Devices, optim: str = "adamw_torch", *, half: bool = False
) -> States:
    """Return what one device holds of the parameters of a model that is trained.

    ``optim`` is the optimizer by its name in ``train.optim``. ``half`` says that the launch
    computes in half precision, to which DeepSpeed casts all weights. It adds gradients up in
    float32, as the shipped configurations have it.
    """

    def size(weight: Tensor) -> float:
        if launch.zero and half and not quantization.is_quantized(weight):
            return float(weight.numel() * min(weight.element_size(), 2))
        return float(quantization.nbytes(weight))

    parameters = list(parameters)
    trained = [weight for weight in parameters if weight.requires_grad]
    whole, made = sum(map(size, parameters)), float(sum(map(quantization.nbytes, trained)))
    numbers = sum(weight.numel() for weight in trained)
    gradients = 4.0 * numbers if launch.zero else made
    if launch.zero:  # a float32 copy of what is trained, and two moments of it
        optimizer = 12.0 * numbers
    elif optim in STATE_BYTES:
        each = [8.0 if w.numel() < SMALL else STATE_BYTES[optim] for w in trained]
        optimizer = sum(w.numel() * bytes_ for w, bytes_ in zip(trained, each, strict=True))
    else:
        optimizer = 2 * gradients
    shares = launch.devices
    optimizer /= shares if launch.zero or launch.fsdp else 1
    weights = whole / shares if launch.cuts_weights else whole
    held = gradients / shares if launch.cuts_gradients else gradients
    moved = {"optimizer": launch.offload, "weights": launch.offload and launch.zero == 3}
    return States(
        weights=0.0 if moved["weights"] else weights,
        optimizer=0.0 if moved["optimizer"] else optimizer,
        gradients=held,
        whole=whole,
        buckets=buckets(launch, gradients, 2 if half else 4),
        live=min(float(LIVE * (2 if half else 4)), whole) if launch.zero == 3 else 0.0,
        gradient_share=held / made if made else 1.0,
        host=optimizer * moved["optimizer"] + weights * moved["weights"],
    )


def buckets(launch: Devices, gradients: float, width: int) -> float:
    """Return the bytes of the copies in which devices exchange ``gradients``, of so many bytes.

    ``width`` is that of a number as a pass makes it. ZeRO-2 has two copies of some gradients, to
    fill one while it sends the other, and ZeRO-3 one; DDP has one of all. Those of FSDP2, of a
    layer, are not counted.
    """
    if launch.zero >= 2:
        return float(BUCKET * width * (2 if launch.zero == 2 else 1))
    return gradients if launch.devices > 1 and not launch.fsdp else 0.0


def reference(parameters: Iterable[Tensor], config: Config, dtype: torch.dtype) -> float:
    """Return the bytes of the reference model, of all parameters of the one that is trained.

    It is a copy in ``dtype``, on every device whole; under a new adapter, the model without it.
    """
    new_adapter = config.model.lora.r and not is_adapter(config.model.name)
    if not config.algorithm.beta or new_adapter:
        return 0.0
    return float(
        sum(
            quantization.nbytes(weight)
            if quantization.is_quantized(weight)
            else weight.numel() * dtype.itemsize
            for weight in parameters
        )
    )


def budget(rehearsal: Rehearsal, held: States, launch: Devices) -> PeakMemory:
    """Return the peaks of a device that holds ``held`` and takes the step that was rehearsed."""
    constant = {
        "weights": held.weights,
        "optimizer": held.optimizer,
        "reference model": held.reference,
        "exchange of gradients": held.buckets,
    }
    constant = {name: size for name, size in constant.items() if size}
    rollout, update = ({}, {})
    share = held.gradient_share
    if peaks := present(rehearsal.peaks, "rollout"):
        rollout = constant | parts(max(peaks, key=lambda peak: peak.total), share)
        if launch.cuts_weights:  # gathered for the whole rollout
            rollout["gathered weights"] = held.whole
    if held.live:
        constant["gathered weights"] = held.live
    candidates = [constant | parts(peak, share) for peak in present(rehearsal.peaks, "update")] + [
        constant | {"gradients": held.gradients}
    ]
    update = max(candidates, key=lambda candidate: sum(candidate.values()))
    return PeakMemory(rollout, update)


def present(peaks: Mapping[str, Peak], half: str) -> list[Peak]:
    """Return the peaks of the phases of half a step that were rehearsed."""
    return [peaks[phase] for phase in HALVES[half] if phase in peaks]


def parts(peak: Peak, share: float) -> dict[str, float]:
    """Return a peak by the words for its parts, of gradients the ``share`` that is held."""
    sizes: Counter[str] = Counter()
    for place, size in peak.by_place.items():
        sizes[NAMES[place.part]] += size
    return {
        name: size * share if name == "gradients" else float(size) for name, size in sizes.items()
    }
