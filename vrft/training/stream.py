"""The stream of samples: an endless sequence, shuffled anew each epoch, dealt out to devices.

A place in the stream, the run's seed and the data decide everything: which sample stands there and
the seed of its rollouts. A resumed run, or one on another number of devices, draws the same.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from vrft.config.schema import Config
from vrft.policy import Policy
from vrft.rollouts.rollout_rows import Drawn
from vrft.task import Task
from vrft.training.run import Run
from vrft.types import Prompt, Sample


def next_prompts(run: Run) -> list[Drawn]:
    """Return this device's next b samples with their encoded prompts, and move the stream on."""
    drawn = coming_prompts(run)
    move_on(run)
    return drawn


def coming_prompts(run: Run) -> list[Drawn]:
    """Return what ``next_prompts`` would, and leave the stream where it is.

    Meanwhile threads begin to encode the samples that come after these. Where a sample's picture
    cannot be read and the run may skip it, the next readable sample of the stream stands in its
    place, which keeps the seed. Raises UserError as ``BadPictures.first_readable`` does.
    """
    drawn = upcoming(run)
    ahead = [*drawn, *upcoming(run, steps=1)]
    run.reader.announce([sample_at(run, place) for place in ahead])
    return [draw(run, place) for place in drawn]


def move_on(run: Run) -> None:
    """Advance the cursor past what all devices have drawn, and past prompts between that rest."""
    run.progress.cursor = places(run)[-1] + 1


def upcoming(run: Run, steps: int = 0) -> Sequence[int]:
    """Return the places of this device's b prompts, ``steps`` draws from now."""
    mine = block_of(run.accelerator.process_index, run.config.train.prompts_per_device)
    return places(run, steps)[mine]


def places(run: Run, steps: int = 0) -> Sequence[int]:
    """Return the places of all devices' prompts, ``steps`` draws from now.

    They follow each other, but for those of prompts that rest.
    """
    size, first = run.prompts, run.progress.cursor
    if not run.config.algorithm.has_curriculum:
        return range(first + steps * size, first + (steps + 1) * size)
    awake = (place for place in itertools.count(first) if not rests(run, place))
    return list(itertools.islice(awake, steps * size, (steps + 1) * size))


def rests(run: Run, place: int) -> bool:
    """Return whether the prompt at a place is passed over, as too hard or too easy so far.

    Its pass rate is that of the run's ledger, which all devices keep alike. In one epoch of every
    ``rest_epochs`` + 1, the first among them, no prompt rests.
    """
    config = run.config.algorithm
    if place // len(run.samples) % (config.rest_epochs + 1) == 0:
        return False
    rate = run.ledger.pass_rate(sample_at(run, place).id)
    return rate is not None and not config.min_pass_rate <= rate <= config.max_pass_rate


def draw(run: Run, place: int) -> Drawn:
    """Return the sample at a place, or the next readable one, with its seed and encoded prompt.

    Nothing but the place decides what stands in for a bad sample: no device waits for another, and
    a sample that stands in is drawn at its own place all the same.
    """
    seed = run.config.train.seed
    coming = samples_from(run.samples, seed, place)
    sample, encoded = run.bad_pictures.first_readable(coming, attrgetter("id"), run.reader.get)
    return Drawn(sample, rollout_seed(seed, place), *encoded)


def sample_at(run: Run, place: int) -> Sample[Any]:
    """Return the sample that stands at a place of the stream."""
    return next(samples_from(run.samples, run.config.train.seed, place))


def samples_from(samples: Sequence[Sample[Any]], seed: int, place: int) -> Iterator[Sample[Any]]:
    """Yield the samples that stand at a place of the stream and behind it, each at least once."""
    # Two epochs hold every sample, wherever in the first of them the place is.
    for later in range(place, place + 2 * len(samples)):
        yield samples[shuffled_index(len(samples), seed, later)]


def block_of(process: int, prompts: int) -> slice:
    """Return which of a step's places a device has, in blocks of its ``prompts``.

    Device 0 has the first block, device 1 the next.
    """
    return slice(process * prompts, (process + 1) * prompts)


def shuffled_index(size: int, seed: int, place: int) -> int:
    """Return which of ``size`` samples stands at a place of the stream, in [0, size)."""
    epoch, offset = divmod(place, size)
    return int(permutation(size, seed, epoch)[offset])


# Two epochs: a step may cross from one into the next, and reading ahead looks into it.
@functools.lru_cache(maxsize=2)
def permutation(size: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """Return the order of the samples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def rollout_seed(seed: int, place: int) -> int:
    """Return the seed of the rollouts at a place, the same on any number of devices."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1, np.uint32)[0])


def step_seed(seed: int, step: int, processes: int, process: int) -> int:
    """Return the seed of what a step draws besides its rollouts, such as dropout, on a device."""
    return rollout_seed(seed, step * processes + process)


def encode_sample(
    task: Task[Any], policy: Policy, config: Config, sample: Sample[Any]
) -> tuple[Prompt, Any]:
    """Return a sample's prompt as the task asks it, and as the policy reads it.

    Raises UserError for a prompt over ``sampling.max_prompt_length`` and for a broken picture.
    """
    prompt = task.prompt(sample)
    (encoded,) = policy.encode([prompt], config.sampling.max_prompt_length)
    return prompt, encoded
