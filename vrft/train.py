"""Group Policy Gradient: the loop that reads like the paper's Algorithm 1."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from transformers import get_scheduler

from vrft import (
    algorithms,
    checkpoint,
    distributed,
    evaluate,
    grading,
    groups,
    policy,
    registry,
    runs,
)
from vrft.config import Config
from vrft.errors import UserError
from vrft.groups import Batch, Source
from vrft.log import RunLog, progress
from vrft.plan import describe


@dataclass(frozen=True)
class Run:
    """What the steps of a run read and change."""

    source: Source
    optimizer: Any
    scheduler: Any

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.source.config


def step(run: Run) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """One update: sample groups, score them, push up the better ones.

    Returns the metrics of the whole batch, and this device's completions for the log.
    """
    config, accelerator, done = run.config.algorithm, run.source.accelerator, run.source.progress
    started = time.monotonic()
    batch = groups.collect(run.source)
    rewards = distributed.gather(accelerator, batch.rewards)
    lengths = distributed.gather(accelerator, batch.lengths)
    alpha = algorithms.alpha(rewards, config)
    advantages = algorithms.advantages(rewards, config) * alpha
    weights = algorithms.token_weights(lengths, config)
    own = distributed.share(accelerator, advantages)
    loss = backward(run, batch, own, distributed.share(accelerator, weights))
    grad_norm = apply_gradients(run)
    learning_rate = run.scheduler.get_last_lr()[0]
    run.scheduler.step()
    done.step += 1
    done.num_tokens += int(lengths.sum())
    metrics = {
        "loss": loss or 0.0,
        "grad_norm": grad_norm,
        "learning_rate": learning_rate,
        "alpha": alpha,
        "resample_rounds": float(batch.rounds),
        **groups.reward_metrics(accelerator, batch, rewards),
        **groups.length_metrics(accelerator, batch, lengths),
        "num_tokens": float(done.num_tokens),
        "epoch": done.cursor / len(run.source.samples),
        "step_time": time.monotonic() - started,
    }
    return metrics, groups.rows(batch, own, run.source.task)


def backward(run: Run, batch: Batch, advantages: Tensor, weights: Tensor) -> float | None:
    """Accumulate the gradient of Eq. 5 and return the loss; None if there is nothing to learn.

    Groups without signal are never forwarded. Every device makes the same number of backward
    passes, so one that has fewer groups with signal repeats its first one with weight 0.
    """
    if batch.exhausted and run.config.algorithm.on_exhausted == "skip":
        return None
    accelerator, module = run.source.accelerator, run.source.policy.module
    size = run.config.train.per_device_train_batch_size
    informative = advantages.ne(0).any(1).nonzero().flatten().tolist()
    chunks = [informative[i : i + size] for i in range(0, len(informative), size)]
    passes = distributed.largest(accelerator, len(chunks))
    total = torch.zeros(1, device=accelerator.device)
    for number in range(passes):
        rows, scale = (chunks[number], 1.0) if number < len(chunks) else ([0], 0.0)
        last = number + 1 == passes
        with contextlib.nullcontext() if last else accelerator.no_sync(module):
            logps = run.source.policy.logps(
                [batch.groups[row].encoded for row in rows],
                [batch.groups[row].group.rollouts for row in rows],
                run.config.sampling.temperature,
            )
            device = logps.device
            own = algorithms.loss(
                logps, advantages[rows].to(device), scale * weights[rows].to(device)
            )
            # Data parallelism averages gradients over devices; the loss is a sum over them.
            accelerator.backward(own * accelerator.num_processes)
        total += own.detach()
    return float(distributed.gather(accelerator, total).sum()) if passes else None


def apply_gradients(run: Run) -> float:
    """Clip, step and clear; returns the gradient's norm before clipping.

    Where nothing was learnt there are no gradients at all, and AdamW leaves the weights alone.
    """
    limit = run.config.train.max_grad_norm or math.inf
    norm = run.source.accelerator.clip_grad_norm_(run.source.policy.module.parameters(), limit)
    run.optimizer.step()
    run.optimizer.zero_grad()
    return float(norm)


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
        loop(run, folder, log, stack.enter_context(runs.StopSignal()))
    if main:
        with checkpoint.written_whole(folder / "final") as temporary:
            run.source.policy.save(temporary)
    accelerator.wait_for_everyone()
    return folder


def prepare(config: Config, accelerator: Accelerator, found: Path | None = None) -> Run:
    """Everything a run needs, from its configuration and the checkpoint it goes on from."""
    task = registry.build(config.task)
    samples = grading.read_samples(task, "train")
    set_seed(config.train.seed)
    name = config.model.name if found is None else str(found)
    device = accelerator.device.type
    model = policy.load(replace(config.model, name=name), train=True, device=device)
    check_rewards(config, list(task.rewards()))
    done = checkpoint.Progress() if found is None else checkpoint.read_progress(found)
    source = Source(config, task, samples, model, accelerator, done)
    return finish(source, found)


def finish(source: Source, found: Path | None = None) -> Run:
    """A run from its source: the optimizer, the schedule, and their state in a checkpoint."""
    config, model = source.config.train, source.policy
    optimizer = adamw(model.module, source.config)
    model.module, optimizer = source.accelerator.prepare(model.module, optimizer)
    steps = total_steps(source)
    scheduler = get_scheduler(
        config.lr_scheduler_type,
        optimizer,
        num_warmup_steps=math.ceil(config.warmup_ratio * steps),
        num_training_steps=steps,
    )
    if found is not None:
        checkpoint.restore_state(found, optimizer, scheduler)
    return Run(source, optimizer, scheduler)


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
    )


def total_steps(source: Source) -> int:
    """``max_steps``, or as many as ``num_train_epochs`` passes over the samples need."""
    config = source.config.train
    if config.max_steps >= 0:
        return config.max_steps
    return math.ceil(config.num_train_epochs * len(source.samples) / source.prompts)


def check_rewards(config: Config, names: list[str]) -> None:
    """UserError for settings under which nothing can be learnt from the task's rewards."""
    if config.sampling.temperature == 0:
        raise UserError("sampling.temperature=0 makes all answers of a group alike; train at 1.0")
    for name in config.algorithm.reward_weights:
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
                metrics |= evaluate.while_training(run.config, run.source.task, run.source.policy)
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
    """A checkpoint of this step: written whole by the main process, older ones pruned."""
    accelerator, done = run.source.accelerator, run.source.progress
    if accelerator.is_main_process:
        with checkpoint.written_whole(checkpoint.path_of(folder, done.step)) as temporary:
            run.source.policy.save(temporary)
            checkpoint.write_state(temporary, done, run.optimizer, run.scheduler, accelerator)
        checkpoint.prune(folder, run.config.train.save_total_limit)
    accelerator.wait_for_everyone()
