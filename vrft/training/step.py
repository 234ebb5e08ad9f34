"""One step of Group Policy Gradient as in the paper's Algorithm 1, and of its relatives."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor

from vrft import mathverify
from vrft.config.methods import AlgorithmConfig
from vrft.errors import UserError
from vrft.models.token_pieces import TokenPieces
from vrft.objectives import algorithms, entropy
from vrft.objectives.micro_batches import Pass, passes
from vrft.objectives.objective import loss, make_experience
from vrft.objectives.types import Batch, Experience, TokenStats
from vrft.processes import distributed, exchange
from vrft.system.waiting import waiting
from vrft.training import health, metrics
from vrft.training.collect import collect
from vrft.training.run import Run
from vrft.training.stream import coming_prompts, step_seed
from vrft.training.vision_reuse import reuses_vision

Rows = Callable[[], list[dict[str, Any]]]
"""Makes the log's rows of a step's completions, when they are to be logged."""


@reuses_vision
def step(run: Run) -> tuple[dict[str, float], Rows]:
    """Take one batch: sample groups, reward them, and push up the better completions.

    Returns the metrics of the batch of all devices, and a function that makes the log's rows of
    this device's completions. An algorithm that reuses batches makes several updates of one.
    Raises UserError, on all devices and before the update, for a reward that cannot be used and
    for a loss or gradient that is not finite.
    """
    accelerator, done = run.accelerator, run.progress
    started, began = time.monotonic(), done.cursor
    # Dropout and the like draw from the global generators: seeded by the step, they draw the same
    # in a resumed run. Rollouts do not depend on it: each prompt has a seed of its own.
    processes, process = accelerator.num_processes, accelerator.process_index
    set_seed(step_seed(run.config.train.seed, done.step, processes, process))
    run.rollouts.follow(run.policy.module, done.step)
    spent = mathverify.budget(run.config.train.math_verify_budget)
    with distributed.gathered_weights(accelerator, run.policy.module), spent:
        batch = collect(run)
        begin_next(run)
    with waiting():
        experience = make_experience(run, batch)
    updates = [update(run, batch, experience, part) for part in mini_batches(run, batch)]
    learning_rate = move_schedule(run)
    done.step += 1
    done.num_tokens += int(exchange.gather(accelerator, batch.lengths).sum())
    health.remember(run, batch)
    measured = metrics.step_metrics(run, batch, updates)
    measured |= run.rollouts.metrics()
    measured |= {
        "learning_rate": learning_rate,
        "alpha": experience.alpha,
        **entropy.metrics(run.config.algorithm, done),
        **passed_over(run, batch, began),
        "step_time": time.monotonic() - started,
    }
    measured |= metrics.reward_seconds(run, batch)
    measured |= metrics.logged_means(run, batch, {"step", "time", *measured})
    return measured, partial(
        metrics.completion_rows, run.task, batch, experience, token_pieces(run)
    )


def passed_over(run: Run, batch: Batch, began: int) -> dict[str, float]:
    """Return how many prompts a curriculum let rest while a step drew its own; {} without one.

    ``began`` is the place of the stream where the step began.
    """
    if not run.config.algorithm.has_curriculum:
        return {}
    drawn = batch.rounds * run.prompts
    return {"curriculum/passed_over": float(run.progress.cursor - began - drawn)}


def token_pieces(run: Run) -> TokenPieces | None:
    """Return the pieces that the policy's tokens write, where the log of completions tells them."""
    loaded = getattr(run.policy, "loaded", None)
    if loaded is None or not run.config.train.logs_token_logprobs:
        return None
    return TokenPieces(loaded.tokenizer, loaded.unwritten_ids)


def begin_next(run: Run) -> None:
    """Let a server that samples ahead begin with the rollouts of the step after this one."""
    if not run.config.rollout.ahead or run.progress.step + 1 >= run.total_steps:
        return
    try:
        drawn = coming_prompts(run)
    except UserError:
        return  # the next step meets the same error, in its turn
    run.rollouts.begin(drawn)


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


@waiting()  # for the other devices, wherever the engine exchanges weights and gradients
def update(run: Run, batch: Batch, experience: Experience, part: range) -> dict[str, float]:
    """Take one optimizer step on some of the groups, and return its metrics.

    Only informative groups are forwarded; where a part of the batch has none, the weights stay.
    Raises UserError, before the step, for a loss or gradient that is not finite.
    """
    accelerator, module = run.accelerator, run.policy.module
    total, total_loss = torch.zeros(1, device=accelerator.device), 0.0
    losses: list[Tensor] = []
    stats: list[TokenStats] = []
    weights_BG = token_weights(run, batch, part)
    entropy_weights_BG = bonus_weights(run, batch, part)
    chunks = passes(run, batch, [row for row in part if experience.informative[row]])
    for number, (rows, scale) in enumerate(chunks, 1):
        last = number == len(chunks)
        with distributed.accumulation(accelerator, module, last=last):
            bonus = None if entropy_weights_BG is None else scale * entropy_weights_BG[rows]
            part_loss, measured = loss(
                run, batch, experience, rows, scale * weights_BG[rows], bonus
            )
            losses.append(part_loss.detach())
            total += losses[-1]
            if last:
                # Before the backward, within which DeepSpeed steps. The sum over all devices: they
                # stop together.
                total_loss = float(exchange.gather(accelerator, total).sum())
                if not math.isfinite(total_loss):
                    raise bad_loss(run, batch, total_loss, chunks, losses)
            # Data parallelism averages gradients over devices; the loss is a sum over them.
            accelerator.backward(part_loss * accelerator.num_processes)
        sums = {name: scale * values for name, values in measured.sums.items()}
        stats.append(replace(measured, sums=sums))
    # Without any pass there is no gradient to step on, and the scaler of float16 refuses to.
    norm = 0.0
    if chunks:  # which are as many on every device
        norm = distributed.clip(accelerator, module, run.config.train.max_grad_norm)
        check_norm(run, norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
    measured_means = metrics.token_metrics(accelerator, stats)
    entropy.control(run.config.algorithm, run.progress, measured_means)
    return {"loss": total_loss, **measured_means, "grad_norm": norm}


def move_schedule(run: Run) -> float:
    """Return the learning rate of this step, and set that of the next one."""
    used: float = run.scheduler.get_last_lr()[0]
    with warnings.catch_warnings():
        # A first step without signal updates nothing, which torch would take for a mistake.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        run.scheduler.step()
    return used


REMEDY = (
    "lower train.learning_rate, or set train.max_grad_norm or model.dtype=float32; nothing was "
    "updated, and the last checkpoint is good"
)


def bad_loss(
    run: Run, batch: Batch, total: float, chunks: Sequence[Pass], losses: Sequence[Tensor]
) -> UserError:
    """Return the error of a loss that is not finite, with this device's samples that made it so."""
    rows = [
        row
        for (chunk, _), part in zip(chunks, losses, strict=True)
        if not math.isfinite(float(part))
        for row in chunk
    ]
    ids = ", ".join(repr(batch.groups[row].group.sample.id) for row in rows[:3])
    samples = f" (sample{'s' if len(rows) > 1 else ''} {ids})" if rows else " (another device's)"
    return UserError(f"step {run.progress.step + 1}: the loss is {total}{samples}; {REMEDY}")


def check_norm(run: Run, norm: float) -> None:
    """Raise UserError for a gradient whose norm is not finite; all devices have the same norm."""
    if math.isfinite(norm):
        return
    accelerator = run.accelerator
    # In float16 the scaled gradient may overflow: the scaler then skips the step and halves the
    # scale. Below a scale of 1 it is the gradient itself. DeepSpeed has such a limit of its own.
    scaler = accelerator.scaler
    if accelerator.mixed_precision == "fp16" and (scaler is None or scaler.get_scale() >= 1):
        return
    raise UserError(
        f"step {run.progress.step + 1}: the gradient's norm is {norm}, though the loss is finite; "
        f"{REMEDY}"
    )


def check_weights(run: Run, weights: Mapping[str, Tensor] | None) -> None:
    """Raise UserError for a weight that is not finite, on all devices if one of them holds it.

    ``weights`` are those that are about to be saved, which only the main process may have.
    """
    # ZeRO-3 and FSDP gather the weights on the main process alone; the others have None.
    bad = [name for name, weight in (weights or {}).items() if not bool(weight.isfinite().all())]
    if exchange.max_over_ranks(run.accelerator, len(bad)):
        where = f" {bad[0]} and {len(bad) - 1} more" if bad else ""
        raise UserError(
            f"step {run.progress.step}: weights{where} are not finite, and are not saved; go on "
            "from the checkpoint before with a lower train.learning_rate"
        )


def bonus_weights(run: Run, batch: Batch, part: range) -> Tensor | None:
    """Return the weight [b, G] of the entropy of each token in an update; None without a bonus.

    It is that of a mean over all tokens of the update, whatever ``token_mean`` is.
    """
    config = run.config.algorithm
    if not config.has_entropy_bonus:
        return None
    mean = token_weights(run, batch, part, replace(config, token_mean="global"))
    return entropy.coefficient(config, run.progress) * mean


def token_weights(
    run: Run, batch: Batch, part: range, config: AlgorithmConfig | None = None
) -> Tensor:
    """Return the weight of a token of each completion in an update of some groups: [b, G].

    The weights of all devices' tokens are taken together: a token mean divides by their count.
    ``config`` stands in for the run's own algorithm.
    """
    config = config or run.config.algorithm
    lengths = algorithms.counted(batch.lengths, batch.truncated, config)
    weights = torch.zeros_like(lengths)
    if part:
        own = lengths[part.start : part.stop]
        lengths_BG = exchange.gather(run.accelerator, own)
        limit = run.config.sampling.max_completion_length
        weights_BG = algorithms.token_weights(lengths_BG, config, limit)
        weights[part.start : part.stop] = exchange.local_rows(run.accelerator, weights_BG)
    return weights
