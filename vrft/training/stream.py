"""The stream of samples: an endless sequence, shuffled anew each epoch, dealt out to devices.

A place in the stream, the run's seed and the data decide everything: which sample stands there and
the seed of its rollouts. A resumed run, or one on another number of devices, draws the same.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from vrft.config.schema import Config
from vrft.policy import Policy
from vrft.task import Task
from vrft.training.types import Drawn, Run
from vrft.types import Prompt, Sample


def next_prompts(run: Run) -> list[Drawn]:
    """Return this device's next b samples with their encoded prompts, and move the stream on.

    Meanwhile threads begin to encode the samples that come after these.
    """
    drawn = upcoming(run)
    run.progress.cursor += run.local_prompts * int(run.accelerator.num_processes)
    following = [sample for sample, _ in upcoming(run)]
    read = run.reader.take([sample for sample, _ in drawn], following)
    return [Drawn(*draw, *encoded) for draw, encoded in zip(drawn, read, strict=True)]


def upcoming(run: Run) -> list[tuple[Sample[Any], int]]:
    """Return the b samples that this device draws next, each with the seed of its rollouts."""
    count, seed = run.local_prompts, run.config.train.seed
    # A step's places are dealt out in blocks of b: device 0 has the first b, device 1 the next.
    first = run.progress.cursor + run.accelerator.process_index * count
    return [
        (run.samples[shuffled_index(len(run.samples), seed, place)], rollout_seed(seed, place))
        for place in range(first, first + count)
    ]


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


def encode_sample(
    task: Task[Any], policy: Policy, config: Config, sample: Sample[Any]
) -> tuple[Prompt, Any]:
    """Return a sample's prompt as the task asks it, and as the policy reads it.

    Raises UserError for a prompt over ``sampling.max_prompt_length`` and for a broken picture.
    """
    prompt = task.prompt(sample)
    (encoded,) = policy.encode([prompt], config.sampling.max_prompt_length)
    return prompt, encoded
