"""The loop over a run's steps, with its records, evaluations and checkpoints."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from vrft.evaluation import evaluate
from vrft.processes import distributed, exchange
from vrft.progress import progress
from vrft.runs import run_folder, tracked_rollouts
from vrft.runs.console import step_texts
from vrft.runs.run_log import RunLog
from vrft.runs.stop_signal import StopSignal
from vrft.system.waiting import waiting
from vrft.training import best, checkpoint, health, trainer_state
from vrft.training.run import Run
from vrft.training.step import Rows, check_weights, step


def loop(run: Run, folder: Path, log: RunLog | None, stop: StopSignal) -> None:
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
            scores: dict[str, float] = {}
            if run.config.eval.split and is_due(done.step, settings.eval_steps, steps):
                gathered = distributed.gathered_weights(accelerator, run.policy.module)
                with accelerator.autocast(), gathered:  # in the precision of the rollouts
                    scores = evaluate.while_training(run.config, run.task, run.policy)
                evaluated = scores
                improved = best.better(run.config, folder, done.step, scores) if log else None
                improved = exchange.from_main(accelerator, improved)  # all save, or none
            logged = is_due(done.step, settings.logging_steps, steps)
            if log and (logged or scores):  # evaluations are rare: none is left out
                log.metrics(done.step, {**metrics, **scores} if logged else scores)
            if log and settings.log_completions:
                log_completions(run, log, rows, logged=logged)
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
                again = run_folder.resume_command(folder)
                print(f"stopped after step {done.step}; go on with `{again}`", file=sys.stderr)
            if signal:
                raise SystemExit(128 + signal)


def log_completions(run: Run, log: RunLog, rows: Rows, *, logged: bool) -> None:
    """Log the completions of a ``logged`` step, and give trackers those that they are to show.

    Trackers have steps of their own, which need not be logged ones.
    """
    settings, step = run.config.train, run.progress.step
    due = step == 1 or is_due(step, settings.log_completions_steps, run.total_steps)
    shows = due and bool(log.trackers)
    if not (logged or shows):
        return
    made = rows()
    if logged:
        log.completions(step, made)
    shown: Sequence[tracked_rollouts.RolloutGroup] = ()
    if shows:
        size, count = run.config.algorithm.num_generations, settings.num_completions_to_print
        shown = tracked_rollouts.groups(run.task, run.samples, made, size, count)
    log.rollouts(step, made, shown, pictures=settings.log_multimodal)


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
            if improved is not None:
                best.write(temporary, improved)
            checkpoint.write_rollouts(temporary, unused)
            trainer_state.write(temporary, done, accelerator)
            health.write(run, temporary)
    if accelerator.is_main_process:
        health.publish(folder, target)
        best.publish(folder, target)
        spared = best.folder_of(folder, run.config)
        checkpoint.prune(folder, done.step, run.config.train.save_total_limit, spared)
    accelerator.wait_for_everyone()
