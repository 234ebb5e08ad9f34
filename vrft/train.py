"""The training loop: Group Policy Gradient as in the paper's Algorithm 1, and its relatives."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from vrft import (
    algorithms,
    checkpoint,
    distributed,
    evaluate,
    grading,
    groups,
    objective,
    policy,
    registry,
    runs,
    schedule,
)
from vrft.config import Config
from vrft.errors import UserError
from vrft.groups import Batch, Source
from vrft.log import RunLog, progress
from vrft.objective import GroupObjective, Objective, Pass, Signal, Sums
from vrft.plan import describe
from vrft.ppo import CriticPolicy, Ppo


@dataclass(frozen=True)
class Run:
    """What the steps of a run read and change."""

    source: Source
    objective: Objective
    optimizer: Any
    scheduler: Any

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.source.config


def step(run: Run) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """One batch: sample groups, score them, push up the better ones.

    Returns the metrics of the whole batch, and this device's completions for the log. A method
    that uses a batch several times makes several updates of it.
    """
    accelerator, done = run.source.accelerator, run.source.progress
    started = time.monotonic()
    seed_step(run)
    with distributed.whole(accelerator, run.source.policy.module):
        batch = groups.collect(run.source)
    signal = run.objective.judge(run.source, batch)
    updates = [update(run, batch, signal, part) for part in parts(run, batch)]
    learning_rate = run.scheduler.get_last_lr()[0]
    run.scheduler.step()
    rewards = distributed.gather(accelerator, batch.rewards)
    lengths = distributed.gather(accelerator, batch.lengths)
    done.step += 1
    done.num_tokens += int(lengths.sum())
    metrics = {
        **means(updates),
        "learning_rate": learning_rate,
        "alpha": signal.alpha,
        "resample_rounds": float(batch.rounds),
        **groups.reward_metrics(accelerator, batch, rewards),
        **groups.length_metrics(accelerator, batch, lengths),
        "num_tokens": float(done.num_tokens),
        "epoch": done.cursor / len(run.source.samples),
        "step_time": time.monotonic() - started,
    }
    return metrics, groups.rows(batch, signal.advantages, run.source.task)


def seed_step(run: Run) -> None:
    """Seed what draws of its own accord, such as dropout, so that a resumed run draws the same.

    Answers do not depend on it: each prompt has a seed of its own.
    """
    accelerator, done = run.source.accelerator, run.source.progress
    place = done.step * accelerator.num_processes + accelerator.process_index
    set_seed(groups.rollout_seed(run.config.train.seed, place))


def parts(run: Run, batch: Batch) -> list[range]:
    """Which of this device's groups each update takes; none at all where the step is skipped."""
    config, size = run.config.algorithm, len(batch.groups)
    if batch.exhausted and config.on_exhausted == "skip":
        return [range(0)]
    cuts = [size * i // config.num_mini_batches for i in range(config.num_mini_batches + 1)]
    once = [range(first, last) for first, last in pairwise(cuts)]
    return once * config.num_iterations


def update(run: Run, batch: Batch, signal: Signal, part: range) -> dict[str, float]:
    """One optimizer step on some of the groups, and its metrics.

    Groups that teach nothing are never forwarded.
    """
    passes = objective.passes(run.source, batch, [row for row in part if signal.teaches[row]])
    metrics = backward(run, batch, signal, passes, token_weights(run, batch, part))
    if passes:  # else there are no gradients at all, and AdamW leaves the weights alone
        accelerator, limit = run.source.accelerator, run.config.train.max_grad_norm
        norm = distributed.clip(accelerator, run.source.policy.module, limit)
    else:
        norm = 0.0
    run.optimizer.step()
    run.optimizer.zero_grad()
    return metrics | {"grad_norm": norm}


def token_weights(run: Run, batch: Batch, part: range) -> Tensor:
    """What a token of each completion weighs in an update of a part of the groups: [b, G]."""
    weights = torch.zeros_like(batch.lengths)
    if part:
        own = batch.lengths[part.start : part.stop]
        lengths = distributed.gather(run.source.accelerator, own)
        limit = run.config.sampling.max_completion_length
        whole = algorithms.token_weights(lengths, run.config.algorithm, limit)
        weights[part.start : part.stop] = distributed.share(run.source.accelerator, whole)
    return weights


def means(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the updates that have it."""
    names = dict.fromkeys(name for one in updates for name in one)
    return {name: fmean(one[name] for one in updates if name in one) for name in names}


def backward(
    run: Run, batch: Batch, signal: Signal, passes: Sequence[Pass], weights: Tensor
) -> dict[str, float]:
    """Accumulate the gradient of an update, and return its loss and what else was measured."""
    accelerator, module = run.source.accelerator, run.source.policy.module
    total = torch.zeros(1, device=accelerator.device)
    sums: list[Sums] = []
    for number, (rows, scale) in enumerate(passes, 1):
        with distributed.accumulation(accelerator, module, last=number == len(passes)):
            loss, measured = run.objective.loss(
                run.source, batch, signal, rows, scale * weights[rows]
            )
            # Data parallelism averages gradients over devices; the loss is a sum over them.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
        sums += [{name: scale * value for name, value in measured.items()}]
    return {
        "loss": float(distributed.gather(accelerator, total).sum()),
        **token_means(accelerator, sums),
    }


def token_means(accelerator: Accelerator, sums: Sequence[Sums]) -> dict[str, float]:
    """Means over all devices' tokens of what was summed over them."""
    if not sums:
        return {}
    names = sorted(sums[0])
    mine = torch.stack([sum((one[name] for one in sums), torch.zeros(())) for name in names])
    total = dict(zip(names, distributed.gather(accelerator, mine.cpu()[None]).sum(0), strict=True))
    tokens = total.pop("tokens")
    return {name: float(value / tokens.clamp(min=1)) for name, value in total.items()}


def train(config: Config, *, resume: Path | None = None, dry_run: bool = False) -> Path:
    """Train as configured and return the run folder, which then holds ``final``.

    ``resume`` is the folder of an interrupted run, which goes on from its latest checkpoint;
    ``dry_run`` checks everything, prints the plan and trains nothing. Raises UserError for what
    the user can mend, and SystemExit(128 + signal) after a checkpoint when it is told to stop.
    """
    if dry_run:
        print(describe(config))
        return Path(config.train.output_dir)
    accelerator = distributed.accelerator(config.model)
    main = accelerator.is_main_process
    if resume is None:
        config = distributed.from_main(accelerator, runs.claim(config) if main else config)
    folder = Path(config.train.output_dir)
    found = None if resume is None else checkpoint.latest(folder)
    run = prepare(config, accelerator, found)
    done = run.source.progress.step
    if found is not None and main:
        print(f"resuming {folder} from step {done}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        resume_step = None if resume is None else done
        log = RunLog(folder, config.train.report_to, resume_step) if main else None
        if log is not None:
            stack.callback(log.close)
        stack.callback(run.source.ahead.close)
        loop(run, folder, log, stack.enter_context(runs.StopSignal()))
    weights = accelerator.get_state_dict(run.source.policy.module)
    if main:
        with checkpoint.written_whole(folder / "final") as temporary:
            run.source.policy.save(temporary, weights)
    accelerator.wait_for_everyone()
    return folder


def prepare(config: Config, accelerator: Accelerator, found: Path | None = None) -> Run:
    """Everything a run needs, from its configuration and the checkpoint it goes on from."""
    task = registry.build(config.task)
    samples = grading.read_samples(task, "train")
    set_seed(config.train.seed)
    check_method(config, list(task.rewards()))
    name = config.model.name if found is None else str(found)
    device = accelerator.device.type
    model = policy.load(replace(config.model, name=name), train=True, device=device)
    reference = policy.reference(model, config.model, device) if config.algorithm.beta else None
    if config.algorithm.baseline == "critic":
        model = CriticPolicy(model, found)
    done = checkpoint.Progress() if found is None else checkpoint.read_progress(found)
    source = Source(config, task, samples, model, accelerator, done, reference)
    return finish(source, found)


def finish(source: Source, found: Path | None = None) -> Run:
    """A run from its source: the optimizer, the schedule, and their state in a checkpoint."""
    config, model = source.config.train, source.policy
    critical = source.config.algorithm.baseline == "critic"
    method: Objective = Ppo() if critical else GroupObjective()
    optimizer = adamw(model.module, source.config)
    model.module, optimizer = distributed.prepare(
        source.accelerator, model.module, optimizer, config.max_grad_norm
    )
    steps = total_steps(source)
    warmup_steps = math.ceil(config.warmup_ratio * steps)
    scheduler = schedule.scheduler(config.lr_scheduler_type, optimizer, warmup_steps, steps)
    if found is not None:
        checkpoint.restore_state(found, optimizer, scheduler, source.accelerator)
    return Run(source, method, optimizer, scheduler)


def adamw(module: torch.nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW over what is trained; biases and norms are not decayed, as in transformers."""
    trained = [p for p in module.parameters() if p.requires_grad]
    decay = config.train.weight_decay
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.train.learning_rate,
        betas=(config.train.adam_beta1, config.train.adam_beta2),
        eps=config.train.adam_epsilon,
        fused=True,
    )


def total_steps(source: Source) -> int:
    """``max_steps``, or as many as ``num_train_epochs`` passes over the samples need."""
    config = source.config.train
    if config.max_steps >= 0:
        return config.max_steps
    return math.ceil(config.num_train_epochs * len(source.samples) / source.prompts)


def check_method(config: Config, names: list[str]) -> None:
    """UserError for settings under which nothing can be learnt from the task's rewards."""
    if config.sampling.temperature == 0:
        raise UserError("sampling.temperature=0 makes all answers of a group alike; train at 1.0")
    method = config.algorithm
    if method.num_mini_batches > config.train.per_device_train_batch_size * (
        config.train.gradient_accumulation_steps
    ):
        raise UserError(
            f"algorithm.num_mini_batches={method.num_mini_batches}: a device has fewer prompts"
        )
    if method.num_generations < 2 and method.baseline in ("group_mean", "leave_one_out"):
        raise UserError(
            f"algorithm.num_generations=1: {method.name} compares the answers to one prompt; "
            "give at least 2"
        )
    for name in method.reward_weights:
        if name not in names:
            raise UserError(f"algorithm.reward_weights.{name}: the task has no such reward; it has "
                            f"{', '.join(names)}")  # fmt: skip


def loop(run: Run, folder: Path, log: RunLog | None, stop: runs.StopSignal) -> None:
    """Steps until ``max_steps``, with logging, evaluation and checkpoints on the way."""
    config, done = run.config.train, run.source.progress
    steps = total_steps(run.source)
    console = sys.stderr if log else io.StringIO()  # one process speaks for all
    with progress(steps, "training", done=done.step, stream=console) as shown:
        while done.step < steps:
            metrics, rows = step(run)
            if wanted(done.step, config.eval_steps, steps) and run.config.eval.split:
                with distributed.whole(run.source.accelerator, run.source.policy.module):
                    metrics |= evaluate.while_training(
                        run.config, run.source.task, run.source.policy
                    )
            if log and wanted(done.step, config.logging_steps, steps):
                log.metrics(done.step, metrics)
                if config.log_completions:
                    log.completions(done.step, rows)
            shown.note(f"reward {metrics['reward']:.3f}")
            shown.advance(1)
            stopping = distributed.largest(run.source.accelerator, stop.number or 0)
            if stopping or wanted(done.step, config.save_steps, steps):
                save(run, folder)
            if stopping:
                told = f"stopped after step {done.step}; go on with `vrft train --resume {folder}`"
                print(told, file=console)
                raise SystemExit(128 + stopping)


def wanted(step: int, every: int, steps: int) -> bool:
    """Whether something is due after this step: every so many steps, and after the last."""
    return step == steps or (every > 0 and step % every == 0)


def save(run: Run, folder: Path) -> None:
    """A checkpoint of this step, written whole, each process its share; older ones pruned."""
    accelerator, done = run.source.accelerator, run.source.progress
    weights = accelerator.get_state_dict(run.source.policy.module)
    with checkpoint.written_together(checkpoint.path_of(folder, done.step), accelerator) as made:
        checkpoint.write_optimizer(made, run.optimizer, accelerator)
        if accelerator.is_main_process:
            run.source.policy.save(made, weights)
            checkpoint.write_state(made, done, run.scheduler, accelerator)
    if accelerator.is_main_process:
        checkpoint.prune(folder, run.config.train.save_total_limit)
    accelerator.wait_for_everyone()
