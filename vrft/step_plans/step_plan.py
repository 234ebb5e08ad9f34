"""The plan of a step: what it takes on a device, and the setting that lets it fit a card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from vrft.config import coercion
from vrft.config.loading import merge, parse_override
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.images import resized_size
from vrft.models import quantization, vision_graphs
from vrft.models.loading import precision, weight_dtype
from vrft.step_plans import budget as budgets
from vrft.step_plans import rehearsal, shape
from vrft.step_plans.budget import Devices, PeakMemory, States
from vrft.step_plans.lengths import Lengths
from vrft.step_plans.meta_device import Device
from vrft.step_plans.rehearsal import Load, PromptShape, Rehearsal
from vrft.step_plans.shape import Shape

DEVICE: Device = "cuda"
"""Plans are for graphics cards."""


@dataclass(frozen=True)
class Job:
    """A configuration with the shape of its model, the lengths of its prompts and its devices."""

    config: Config
    shape: Shape
    lengths: Lengths
    launch: Devices

    def load(self, first: PromptShape) -> Load:
        """Return the load of a step whose first prompt is this one; all others are median ones."""
        config, middle = self.config, self.lengths.middle
        generations = config.algorithm.num_generations if config.algorithm.by_reward else 1
        length = config.sampling.max_completion_length
        batch = config.train.per_device_train_batch_size
        if config.train.max_tokens_per_micro_batch and config.algorithm.by_reward:
            tokens = self.lengths.tokens(first) + generations * length
            batch = max(1, config.train.max_tokens_per_micro_batch // tokens)
        prompts = (first, *[middle] * (config.train.prompts_per_device - 1))
        return Load(prompts, min(batch, len(prompts)), generations, length)

    @property
    def samples_here(self) -> bool:
        """Return whether the model itself samples, rather than a server or the data."""
        return self.config.samples_itself

    @property
    def keeps_vision(self) -> bool:
        """Return whether the update of a step may take the vision passes of its rollout."""
        return self.samples_here and vision_graphs.may_serve(
            self.config.algorithm, self.launch.devices
        )


def half_of(config: Config) -> torch.dtype | None:
    """Return the type that autocast computes in on a card; None where it is float32."""
    dtype: torch.dtype = getattr(torch, precision(config.model, DEVICE))
    return None if dtype == torch.float32 else dtype


def held_dtype(config: Config, launch: Devices) -> torch.dtype:
    """Return the type of the weights: DeepSpeed casts them to half precision, and steps a copy."""
    half = half_of(config)
    if launch.zero and half is not None:
        return half
    return weight_dtype(config.model, DEVICE, train=True)


def states_of(job: Job) -> States:
    """Return what a device holds from step to step, without rehearsing one."""
    config, launch = job.config, job.launch
    half = half_of(config)
    loaded = shape.build(job.shape, config.model, held_dtype(config, launch), half=half)
    parameters = list(loaded.model.parameters())
    held = budgets.states(parameters, launch, config.train.optim, half=half is not None)
    dtype = weight_dtype(config.model, DEVICE, train=False)
    return replace(held, reference=budgets.reference(parameters, config, dtype))


def rehearse(job: Job, first: PromptShape) -> Rehearsal:
    """Rehearse a step of a job whose first prompt is this one."""
    config = job.config
    relevant = replace(config.model, name="", min_pixels=None, max_pixels=None)
    load, dtype, half = job.load(first), held_dtype(config, job.launch), half_of(config)
    # By its words, as settings may hold what has no hash.
    key = repr((job.shape.source, job.shape.name, relevant, dtype, half, load, config.sampling,
                job.samples_here, job.keeps_vision))  # fmt: skip
    if key not in REHEARSED:
        loaded = shape.build(job.shape, relevant, dtype, half=half)
        REHEARSED[key] = rehearsal.rehearse(
            loaded,
            load,
            config.sampling,
            DEVICE,
            half,
            rollout=job.samples_here,
            keeps_vision=job.keeps_vision,
        )
    return REHEARSED[key]


REHEARSED: dict[str, Rehearsal] = {}
"""Steps that were rehearsed, as several settings are tried that make no difference to some."""


def budget(job: Job) -> PeakMemory:
    """Return the peak memory of a step of the longest prompt, its others being of the median."""
    return budgets.budget(rehearse(job, job.lengths.longest), states_of(job), job.launch)


def updates(config: Config) -> int:
    """Return how often a step passes over its batch with gradients."""
    return config.algorithm.num_iterations


def references(config: Config) -> int:
    """Return how often a step passes over its batch without gradients."""
    algorithm = config.algorithm
    return int(bool(algorithm.beta)) + int(algorithm.needs_old_logps)


# --- what to turn


LORA = ("model.lora.r=64", "model.lora.lora_alpha=128")
CHECKPOINTING = "model.gradient_checkpointing=true"
NOTHING_KEPT = "model.vision_graph_mib=0"
NF4 = "model.quantization=nf4"


def remedies(job: Job) -> Iterator[tuple[str, ...]]:
    """Yield settings that take less memory, those first that change the training least."""
    config = job.config
    rows = config.train.per_device_train_batch_size
    single = (
        "train.per_device_train_batch_size=1",
        f"train.gradient_accumulation_steps={rows * config.train.gradient_accumulation_steps}",
    )
    smaller = single if rows > 1 else ()
    if not config.model.gradient_checkpointing:
        yield (CHECKPOINTING,)
    if smaller:
        yield smaller
        yield (CHECKPOINTING, *smaller)
    adapted = config.model.lora.r or job.shape.adapter is not None
    if not adapted:
        if job.shape.vision is not None and not config.model.freeze_vision_tower:
            yield (CHECKPOINTING, *smaller, "model.freeze_vision_tower=true")
        yield LORA
        yield (*LORA, CHECKPOINTING)
        yield (*LORA, CHECKPOINTING, *smaller)
    lora = () if adapted else LORA
    if can_quantize(job):
        yield (*lora, CHECKPOINTING, *smaller, NF4)
    if job.shape.vision is not None:
        area = 512 * job.shape.factor**2
        yield (*lora, CHECKPOINTING, *smaller, f"model.max_pixels={area}")


def keeps_something(job: Job) -> bool:
    """Return whether vision passes that a step keeps are a part of its peak."""
    if not job.keeps_vision or job.shape.vision is None or not job.config.model.vision_graph_mib:
        return False
    planned = budget(job)
    return any(budgets.NAMES["kept"] in half for half in (planned.rollout, planned.update))


def can_quantize(job: Job) -> bool:
    """Return whether a job's base could be held in four bits, and is not."""
    config = job.config
    try:
        quantization.check_base(job.shape.name, job.shape.config)
        quantization.check_settings(coercion.build(Config, changed_tree(config, (*LORA, NF4))))
    except UserError:
        return False
    return not config.model.quantization and not job.launch.cuts_gradients


def changed_tree(config: Config, settings: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the tree of a configuration with settings changed."""
    tree: Mapping[str, Any] = coercion.to_plain(config)
    for setting in settings:
        tree = merge(tree, parse_override(setting))
    return tree


def changed(job: Job, settings: tuple[str, ...]) -> Job:
    """Return a job with settings changed, and its pictures made smaller where they say so."""
    config = coercion.build(Config, changed_tree(job.config, settings))
    lengths = job.lengths
    if config.model.max_pixels != job.config.model.max_pixels:
        lengths = shrunk(lengths, config.model.max_pixels)
    return replace(job, config=config, lengths=lengths)


def shrunk(lengths: Lengths, area: int | None) -> Lengths:
    """Return lengths whose pictures have at most this area in pixels."""
    if area is None:
        return lengths
    prompts = tuple(
        PromptShape(
            prompt.words,
            tuple(
                resized_size(*size, lengths.factor**2, area, lengths.factor)
                for size in prompt.pictures
            ),
        )
        for prompt in lengths.prompts
    )
    return replace(lengths, prompts=prompts)


@dataclass(frozen=True)
class Remedy:
    """Settings with which a step fits, and its peak; ``settings`` are empty where it does so."""

    settings: tuple[str, ...]
    peak: float


def attempts(job: Job, room: float) -> Iterator[tuple[str, ...]]:
    """Yield the settings to try in turn: as they are, without what is kept, and ``remedies``."""
    yield ()
    if states_of(job).total <= room and keeps_something(job):
        yield (NOTHING_KEPT,)
    yield from remedies(job)


def remedy(job: Job, room: float) -> Remedy | None:
    """Return the first settings with which a step holds at most ``room`` bytes; None for none."""
    for settings in attempts(job, room):
        attempt = changed(job, settings)
        held = states_of(attempt)
        if held.total > room:
            continue  # no need to rehearse it
        peak = budget(attempt).peak
        if peak <= room:
            return Remedy(settings, peak)
    return None


def parameters(job: Job) -> Mapping[str, tuple[int, int]]:
    """Count the parameters of each part of the model: (all, those that are trained)."""
    config = job.config
    return shape.parameters(shape.build(job.shape, config.model, torch.bfloat16))
