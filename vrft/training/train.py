"""The run around its loop: what it is made of, its folder and log, and the model at its end."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import get_scheduler

from vrft import policy
from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.engines.engines import OwnEngine
from vrft.objectives import entropy, ppo
from vrft.policy import Policy
from vrft.processes import distributed, exchange
from vrft.processes.peers import guarded
from vrft.processes.same_start import check_same
from vrft.rollouts import rollouts
from vrft.runs import fresh_folder, launches
from vrft.runs.bad_pictures import BadPictures
from vrft.runs.console import steady
from vrft.runs.run_log import RunLog
from vrft.runs.stop_signal import StopSignal
from vrft.system import disk_errors
from vrft.system.waiting import waiting
from vrft.task import Task
from vrft.training import (
    best,
    canary_trial,
    checkpoint,
    health,
    isolated_rewards,
    optimizers,
    own_folder,
    plan,
    plan_text,
)
from vrft.training import resume as resumption
from vrft.training.loop import loop
from vrft.training.read_ahead import ReadAhead
from vrft.training.run import Run
from vrft.training.step import check_weights
from vrft.training.stream import coming_prompts, encode_sample
from vrft.training.trainer_state import Progress
from vrft.types import Sample


def train(config: Config, *, resume: Path | None = None) -> Path:
    """Train as configured and return the run folder, which then holds ``final``.

    ``resume`` is the folder of an interrupted run, which goes on from its latest checkpoint.
    Raises UserError for what the user can mend, and SystemExit(128 + signal) after a checkpoint
    when it is told to stop.
    """
    accelerator = distributed.accelerator(config.model, config.train.ddp_timeout)
    with guarded(accelerator, config.train):
        return train_together(config, accelerator, resume)


def train_together(config: Config, accelerator: Accelerator, resume: Path | None) -> Path:
    """Train as ``train`` does, in this process and those that the accelerator knows of."""
    main, fresh = accelerator.is_main_process, resume is None
    optimizers.check_launch(config.train, accelerator)
    task, samples = plan.check(config, fresh=fresh)
    check_same(accelerator, config, samples)
    with contextlib.ExitStack() as stack:
        config = own_folder.named(config, accelerator, stack)
        folder = Path(config.train.output_dir)
        latest = None if fresh else own_folder.held_checkpoint(folder, accelerator, stack)
        stack.callback(isolated_rewards.close, task)
        run = prepare(config, task, samples, accelerator, latest)
        stack.callback(run.close)
        if latest is not None:
            run.rollouts.restore(latest, partial(coming_prompts, run))
        # Only now, when nothing is left that could stop the run before its first step, and when all
        # processes have read the settings that are written anew.
        exchange.wait_for_everyone(accelerator)
        if main:
            enter_folder(run, folder, latest, stack, fresh=fresh)
        isolated_rewards.begin(config, task, folder)
        stack.enter_context(steady(folder))
        stack.enter_context(disk_errors.explained(folder))
        if config.algorithm.rewards and main:
            print(f"rewards: {plan_text.rewards_text(config, task)}", file=sys.stderr)
        if fresh and config.train.canaries:
            # Before the log: a folder without metrics.jsonl is free for the mended command.
            canary_trial.try_canaries(run, folder)
        log = open_log(run, folder, stack, fresh=fresh) if main else None
        loop(run, folder, log, stack.enter_context(StopSignal()))
        save_final(run, folder)
    exchange.wait_for_everyone(accelerator)
    if main and (line := best.line(folder, config)):
        print(line, file=sys.stderr)
    return folder


def enter_folder(
    run: Run, folder: Path, latest: Path | None, stack: contextlib.ExitStack, *, fresh: bool
) -> None:
    """Make the run's folder its own, which ``stack`` holds; only the main process calls this.

    A ``fresh`` run claims it; another goes on in it, from its ``latest`` checkpoint, if any.
    """
    if fresh:
        stack.enter_context(fresh_folder.held(folder, lambda: run.progress.step))
        own_folder.claim(run.config, run.samples, run.accelerator.num_processes)
        health.forget(folder)
    else:
        resumption.go_on(run.config, folder)
    launches.write(folder, resumption.launch(run.config, run.progress.step + 1, run.policy))
    health.publish(folder, latest)
    best.restore(folder, latest, run.config.train.metric_for_best_model)


def open_log(run: Run, folder: Path, stack: contextlib.ExitStack, *, fresh: bool) -> RunLog:
    """Return the log of a run, which ``stack`` closes; only the main process calls this.

    A run that is not ``fresh`` goes on with the log that is there.
    """
    resume_step = None if fresh else run.progress.step
    with waiting():  # a tracker may ask its server first
        log = RunLog(folder, run.config.train.report_to, resume_step, flat(run.config))
    # Closed after the signals: a tracker that fails to close must not cost ``final``.
    stack.callback(waiting()(log.close))  # a tracker may send its last rows for long
    return log


def save_final(run: Run, folder: Path) -> None:
    """Write the trained model into ``final``; every process calls this, and one writes."""
    weights = distributed.state_dict(run.accelerator, run.policy.module)
    check_weights(run, weights)
    if run.accelerator.is_main_process:
        with waiting(), checkpoint.written_whole(folder / "final") as temporary:
            run.policy.save(temporary, weights)


def prepare(
    config: Config,
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    accelerator: Accelerator,
    latest: Path | None = None,
) -> Run:
    """Load what a run needs besides its data, and the state of the checkpoint it goes on from.

    The engine of its rollouts is started; ``Run.close`` ends it.
    """
    set_seed(config.train.seed)
    device = accelerator.device.type
    name = config.model.name if latest is None else str(latest)
    actor = policy.load(replace(config.model, name=name), train=True, device=device)
    actor = ppo.with_critic(actor, config.algorithm, latest)
    actor = entropy.with_entropies(actor, config.algorithm)
    # Of the policy as it is trained from here on: below a new adapter it calls that one's module,
    # which an engine wraps.
    reference = policy.reference(actor, config.model, device) if config.algorithm.beta else None
    done = Progress() if latest is None else checkpoint.read_progress(latest)
    run = make_run(config, task, samples, actor, accelerator, done, reference)
    if latest is not None:
        run.bad_pictures.restore(latest.parent, run.progress.step)
        health.restore(run, latest)
        checkpoint.restore_state(
            latest, run.optimizer, run.scheduler, accelerator, run.progress.step
        )
    folder = Path(config.train.output_dir)
    made = rollouts.start(config, actor, accelerator, folder, run.progress.step)
    return replace(run, rollouts=made)


def make_run(
    config: Config,
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    actor: Policy,
    accelerator: Accelerator,
    done: Progress,
    reference: Policy | None = None,
) -> Run:
    """Return a run with its optimizer, schedule and reader, the policy laid out over devices."""
    settings = config.train
    trained = [p for p in actor.module.parameters() if p.requires_grad]
    optimizer = optimizers.adamw(settings, trained)
    actor.module, optimizer = distributed.prepare(
        accelerator, actor.module, optimizer, settings.max_grad_norm
    )
    steps = config.total_steps(len(samples), accelerator.num_processes)
    scheduler = get_scheduler(
        settings.lr_scheduler_type,
        optimizer,
        num_warmup_steps=math.ceil(settings.warmup_ratio * steps),
        num_training_steps=steps,
    )
    reader = ReadAhead(
        partial(encode_sample, task, actor, config),
        key=lambda sample: sample.id,
        workers=settings.dataloader_num_workers,
    )
    return Run(
        config=config,
        task=task,
        samples=samples,
        policy=actor,
        accelerator=accelerator,
        progress=done,
        reader=reader,
        rollouts=rollouts.Rollouts(OwnEngine(actor), config, accelerator, done.step),
        optimizer=optimizer,
        scheduler=scheduler,
        reference=reference,
        bad_pictures=BadPictures.of(config),
    )
