"""The training loop: Group Policy Gradient as in the paper's Algorithm 1, and its relatives."""

from __future__ import annotations

import contextlib
import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import get_scheduler

from vrft import policy, registry
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import evaluate, scoring
from vrft.progress import progress
from vrft.training import checkpoint, distributed, run_folder
from vrft.training.collect import Source
from vrft.training.objective import GroupObjective, Objective
from vrft.training.plan import plan_text
from vrft.training.ppo import CriticPolicy, Ppo
from vrft.training.run_log import RunLog
from vrft.training.step import Run, step


def train(config: Config, *, resume: Path | None = None, dry_run: bool = False) -> Path:
    """Train as configured and return the run folder, which then holds ``final``.

    ``resume`` is the folder of an interrupted run, which goes on from its latest checkpoint;
    ``dry_run`` checks everything, prints the plan and trains nothing. Raises UserError for what
    the user can mend, and SystemExit(128 + signal) after a checkpoint when it is told to stop.
    """
    if dry_run:
        print(plan_text(config))
        return Path(config.train.output_dir)
    accelerator = distributed.accelerator(config.model)
    main = accelerator.is_main_process
    if resume is None:
        registry.build(config.task)  # before a folder is made for a task that is not there
        config = distributed.from_main(accelerator, run_folder.claim(config) if main else config)
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
        loop(run, folder, log, stack.enter_context(run_folder.StopSignal()))
    weights = accelerator.get_state_dict(run.source.policy.module)
    if main:
        with checkpoint.written_whole(folder / "final") as temporary:
            run.source.policy.save(temporary, weights)
    accelerator.wait_for_everyone()
    return folder


def prepare(config: Config, accelerator: Accelerator, found: Path | None = None) -> Run:
    """Everything a run needs, from its configuration and the checkpoint it goes on from."""
    task = registry.build(config.task)
    samples = scoring.read_samples(task, "train")
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
    scheduler = get_scheduler(
        config.lr_scheduler_type,
        optimizer,
        num_warmup_steps=math.ceil(config.warmup_ratio * steps),
        num_training_steps=steps,
    )
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


def loop(run: Run, folder: Path, log: RunLog | None, stop: run_folder.StopSignal) -> None:
    """Steps until ``max_steps``, with logging, evaluation and checkpoints on the way."""
    config, done = run.config.train, run.source.progress
    steps = total_steps(run.source)
    console = sys.stderr if log else io.StringIO()  # one process speaks for all
    with progress(steps, "training", done=done.step, stream=console) as shown:
        while done.step < steps:
            metrics, rows = step(run)
            if wanted(done.step, config.eval_steps, steps) and run.config.eval.split:
                with distributed.gathered_weights(run.source.accelerator, run.source.policy.module):
                    metrics |= evaluate.while_training(
                        run.config, run.source.task, run.source.policy
                    )
            if log and wanted(done.step, config.logging_steps, steps):
                log.metrics(done.step, metrics)
                if config.log_completions:
                    log.completions(done.step, rows)
            shown.note(f"reward {metrics['reward']:.3f}")
            shown.advance(1)
            stopping = distributed.max_over_ranks(run.source.accelerator, stop.number or 0)
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
