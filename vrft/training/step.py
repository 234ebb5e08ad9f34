"""One step of Group Policy Gradient as in the paper's Algorithm 1, and of its relatives."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor

from vrft.training import algorithms, distributed, metrics
from vrft.training.collect import collect
from vrft.training.micro_batches import passes
from vrft.training.objective import loss, make_experience
from vrft.training.stream import rollout_seed
from vrft.training.types import Batch, Experience, Run, TokenSums

Rows = Callable[[], list[dict[str, Any]]]
"""Makes the log's rows of a step's completions, when they are to be logged."""


def step(run: Run) -> tuple[dict[str, float], Rows]:
    """Take one batch: sample groups, reward them, and push up the better completions.

    Returns the metrics of the batch of all devices, and a function that makes the log's rows of
    this device's completions. An algorithm that reuses batches makes several updates of one.
    """
    accelerator, done = run.accelerator, run.progress
    started = time.monotonic()
    # Dropout and the like draw from the global generators: seeded by the step, they draw the same
    # in a resumed run. Rollouts do not depend on it: each prompt has a seed of its own.
    place = done.step * accelerator.num_processes + accelerator.process_index
    set_seed(rollout_seed(run.config.train.seed, place))
    with distributed.gathered_weights(accelerator, run.policy.module):
        batch = collect(run)
    experience = make_experience(run, batch)
    updates = [update(run, batch, experience, part) for part in mini_batches(run, batch)]
    learning_rate = run.scheduler.get_last_lr()[0]
    run.scheduler.step()
    done.step += 1
    measured = metrics.step_metrics(run, batch, updates)
    measured |= {
        "learning_rate": learning_rate,
        "alpha": experience.alpha,
        "step_time": time.monotonic() - started,
    }
    return measured, partial(metrics.completion_rows, run.task, batch, experience)


def mini_batches(run: Run, batch: Batch) -> list[range]:
    """Return which of this device's groups each update takes.

    An algorithm with ``num_iterations`` goes over them several times. A step that is skipped is one
    update of no groups at all.
    """
    config, size = run.config.algorithm, len(batch.groups)
    if batch.exhausted and config.on_exhausted == "skip":
        return [range(0)]
    cuts = [size * i // config.num_mini_batches for i in range(config.num_mini_batches + 1)]
    return [range(first, last) for first, last in pairwise(cuts)] * config.num_iterations


def update(run: Run, batch: Batch, experience: Experience, part: range) -> dict[str, float]:
    """Take one optimizer step on some of the groups, and return its metrics.

    Only informative groups are forwarded; where a part of the batch has none, the weights stay.
    """
    accelerator, module = run.accelerator, run.policy.module
    total = torch.zeros(1, device=accelerator.device)
    sums: list[TokenSums] = []
    weights_BG = token_weights(run, batch, part)
    chunks = passes(run, batch, [row for row in part if experience.informative[row]])
    for number, (rows, scale) in enumerate(chunks, 1):
        with distributed.accumulation(accelerator, module, last=number == len(chunks)):
            part_loss, measured = loss(run, batch, experience, rows, scale * weights_BG[rows])
            # Data parallelism averages gradients over devices; the loss is a sum over them.
            accelerator.backward(part_loss * accelerator.num_processes)
        total += part_loss.detach()
        sums.append({name: scale * values for name, values in measured.items()})
    # Without any pass there is no gradient (None, not 0), and AdamW leaves the weights alone.
    norm = distributed.clip(accelerator, module, run.config.train.max_grad_norm) if chunks else 0.0
    run.optimizer.step()
    run.optimizer.zero_grad()
    return {
        "loss": float(distributed.gather(accelerator, total).sum()),
        **metrics.token_means(accelerator, sums),
        "grad_norm": norm,
    }


def token_weights(run: Run, batch: Batch, part: range) -> Tensor:
    """Return the weight of a token of each completion in an update of some groups: [b, G].

    The weights of all devices' tokens are taken together: a token mean divides by their count.
    """
    weights = torch.zeros_like(batch.lengths)
    if part:
        own = batch.lengths[part.start : part.stop]
        lengths_BG = distributed.gather(run.accelerator, own)
        limit = run.config.sampling.max_completion_length
        weights_BG = algorithms.token_weights(lengths_BG, run.config.algorithm, limit)
        weights[part.start : part.stop] = distributed.local_rows(run.accelerator, weights_BG)
    return weights
