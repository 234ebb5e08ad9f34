"""The run around the steps: preparation, the loop with its records, checkpoints and the end."""

from __future__ import annotations

import contextlib
import io
import math
import shlex
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
from vrft.evaluation import evaluate
from vrft.objectives import entropy, ppo
from vrft.policy import Policy
from vrft.processes import distributed, exchange
from vrft.processes.peers import check_same, guarded
from vrft.progress import progress
from vrft.runs import (
    data_fingerprint,
    disk_errors,
    fresh_folder,
    launches,
    run_folder,
    tracked_rollouts,
)
from vrft.runs.bad_pictures import BadPictures
from vrft.runs.console import steady, step_texts
from vrft.runs.run_log import RunLog
from vrft.task import Task
from vrft.training import (
    best,
    checkpoint,
    health,
    optimizers,
    plan,
    reward_workers,
    rollouts,
    trainer_state,
)
from vrft.training import resume as resumption
from vrft.training.read_ahead import ReadAhead
from vrft.training.run import Run
from vrft.training.step import check_weights, step
from vrft.training.stream import coming_prompts, encode_sample
from vrft.training.trainer_state import Progress
from vrft.types import Sample
from vrft.waiting import waiting


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
    main = accelerator.is_main_process
    optimizers.check_launch(config.train, accelerator)
    task, samples = plan.check(config, fresh=resume is None)
    check_same(accelerator, config, samples)
    with contextlib.ExitStack() as stack:
        if not config.train.output_dir:
            # The name tells the time: all processes take the main one's.
            named = stack.enter_context(fresh_folder.unnamed(config)) if main else ""
            named = exchange.from_main(accelerator, named)
            config = replace(config, train=replace(config.train, output_dir=named))
        folder = Path(config.train.output_dir)
        latest: Path | None = None
        if resume is not None:
            # Until all have seen that nobody holds the folder.
            exchange.wait_for_everyone(accelerator)
            if main:
                stack.enter_context(run_folder.held(folder))
            # One process has read all bytes of the checkpoints, and chooses for all.
            latest = exchange.from_main(accelerator, checkpoint.latest(folder))
        stack.callback(reward_workers.close, task)
        run = prepare(config, task, samples, accelerator, latest)
        stack.callback(run.close)
        if latest is not None:
            run.rollouts.restore(latest, partial(coming_prompts, run))
        # Only now, when nothing is left that could stop the run before its first step, and when all
        # processes have read the settings that are written anew.
        exchange.wait_for_everyone(accelerator)
        if main and resume is None:
            stack.enter_context(fresh_folder.held(folder, lambda: run.progress.step))
            run_folder.claim(config)
            health.forget(folder)
            data_fingerprint.write(folder, samples, run.prompts)
        elif main:
            resumption.go_on(config, folder)
        if main:
            launches.write(folder, resumption.launch(config, run.progress.step + 1, run.policy))
            health.publish(folder, latest)
        reward_workers.begin(config, task, folder)
        stack.enter_context(steady(folder))
        stack.enter_context(disk_errors.explained(folder))
        if config.algorithm.rewards and main:
            print(f"rewards: {plan.rewards_text(config, task)}", file=sys.stderr)
        if resume is None and config.train.canaries:
            # Before the log: a folder without metrics.jsonl is free for the mended command.
            health.try_canaries(run, folder)
        resume_step = None if resume is None else run.progress.step
        with waiting():  # a tracker may ask its server first
            log = (
                RunLog(folder, config.train.report_to, resume_step, flat(config)) if main else None
            )
        if log is not None:
            # Closed after the signals: a tracker that fails to close must not cost ``final``.
            stack.callback(waiting()(log.close))  # a tracker may send its last rows for long
        loop(run, folder, log, stack.enter_context(run_folder.StopSignal()))
        weights = distributed.state_dict(accelerator, run.policy.module)
        check_weights(run, weights)
        if main:
            with waiting(), checkpoint.written_whole(folder / "final") as temporary:
                run.policy.save(temporary, weights)
    exchange.wait_for_everyone(accelerator)
    if main and (line := best.line(folder, config)):
        print(line, file=sys.stderr)
    return folder


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
    """Return a run with its optimizer, schedule and reader, the policy laid out over devices.

    The optimizer is AdamW over the trained parameters; biases and norms are not decayed, as in
    transformers' trainer.
    """
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
        config,
        task,
        samples,
        actor,
        accelerator,
        done,
        reader,
        rollouts.Rollouts(OwnEngine(actor), config, accelerator, done.step),
        optimizer,
        scheduler,
        reference,
        BadPictures(skip=config.data.on_bad_picture == "skip"),
    )


def loop(run: Run, folder: Path, log: RunLog | None, stop: run_folder.StopSignal) -> None:
    """Take steps to the last, with records, evaluations and checkpoints on the way.

    ``log`` is that of the main process. The evaluation that is the best so far is followed by a
    checkpoint. SystemExit(128 + signal) after a checkpoint when a signal has asked any process to
    stop.
    """
    settings, done, accelerator = run.config.train, run.progress, run.accelerator
    steps = run.total_steps
    console = sys.stderr if log else io.StringIO()  # one process speaks for all
    evaluated: dict[str, float] = {}
    every = settings.logging_steps
    with progress(steps, "training", done=done.step, stream=console, every=every) as display:
        while done.step < steps:
            metrics, rows = step(run)
            metrics |= run.bad_pictures.exchange(accelerator)
            if log:
                for line in run.bad_pictures.write(folder, done.step):
                    print(line, file=sys.stderr)
            alarms = health.new_alarms(run, metrics)
            improved: best.Best | None = None
            if run.config.eval.split and is_due(done.step, settings.eval_steps, steps):
                with distributed.gathered_weights(accelerator, run.policy.module):
                    scores = evaluate.while_training(run.config, run.task, run.policy)
                metrics |= scores
                evaluated = scores
                improved = best.better(run.config, folder, done.step, scores) if log else None
                improved = exchange.from_main(accelerator, improved)  # all save, or none
            if log and is_due(done.step, settings.logging_steps, steps):
                log.metrics(done.step, metrics)
                if settings.log_completions:
                    log_completions(run, log, rows())
            health.report(run, folder, alarms)
            display.note(*step_texts(metrics, evaluated))
            display.advance(1)
            # A signal may have reached only some of the processes: all stop after the same step.
            signal = exchange.max_over_ranks(accelerator, stop.number or 0)
            if signal or improved or is_due(done.step, settings.save_steps, steps):
                if log:
                    waiting()(log.sync)()
                save(run, folder, improved)
            if signal and log:
                print(
                    f"stopped after step {done.step}; go on with "
                    f"`vrft train --resume {shlex.quote(str(folder))}`",
                    file=sys.stderr,
                )
            if signal:
                raise SystemExit(128 + signal)


def log_completions(run: Run, log: RunLog, rows: Sequence[dict[str, Any]]) -> None:
    """Log the completions of this step, and give trackers those that they are to show."""
    settings, step = run.config.train, run.progress.step
    log.completions(step, rows)
    if not log.trackers:
        return
    shown: Sequence[tracked_rollouts.RolloutGroup] = ()
    if step == 1 or is_due(step, settings.log_completions_steps, run.total_steps):
        size, count = run.config.algorithm.num_generations, settings.num_completions_to_print
        shown = tracked_rollouts.groups(run.task, run.samples, rows, size, count)
    log.rollouts(step, rows, shown, pictures=settings.log_multimodal)


def is_due(step: int, every: int, steps: int) -> bool:
    """Return whether to act after this step: every so many steps (0: never), and after the last."""
    return step == steps or (every > 0 and step % every == 0)


@waiting()  # for the disk, and for the other devices
def save(run: Run, folder: Path, improved: best.Best | None = None) -> None:
    """Write a checkpoint of this step, each process its share, and prune the older ones.

    The checkpoint takes its name when all of it is written. ``improved`` says that it is the best
    so far.
    """
    accelerator, done = run.accelerator, run.progress
    weights = distributed.state_dict(accelerator, run.policy.module)
    check_weights(run, weights)
    unused = run.rollouts.rows()
    target = checkpoint.path_of(folder, done.step)
    needed = checkpoint.bytes_of(weights, run.optimizer)
    with checkpoint.written_together(target, accelerator, needed) as temporary:
        checkpoint.write_optimizer(temporary, run.optimizer, accelerator)
        if accelerator.is_main_process:
            run.policy.save(temporary, weights)
            checkpoint.write_rollouts(temporary, unused)
            trainer_state.write(temporary, done, accelerator)
            health.write(run, temporary)
    if accelerator.is_main_process:
        health.publish(folder, target)
        if improved is not None:
            best.write(folder, improved)
        spared = best.folder_of(folder, run.config)
        checkpoint.prune(folder, run.config.train.save_total_limit, spared)
    accelerator.wait_for_everyone()
