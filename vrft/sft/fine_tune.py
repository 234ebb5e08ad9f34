"""Supervised fine-tuning on a task's reference answers: the baseline and the cold start.

The loop is TRL's SFTTrainer, in one process or in several that hold a copy of the weights each.
Prompts and pictures are encoded as everywhere else in the toolkit, so a model that starts here
meets nothing new when it is trained by reward. The loss is taken on the answer alone, its end token
included, as a mean over the tokens of a step, in however many processes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import PrinterCallback

from vrft import policy
from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.processes import distributed, exchange
from vrft.processes.peers import guarded
from vrft.processes.same_start import check_same
from vrft.runs import fresh_folder, launches, run_folder
from vrft.runs.bad_pictures import BadPictures
from vrft.runs.console import steady
from vrft.runs.run_log import RunLog
from vrft.runs.stop_signal import StopSignal
from vrft.sft import resuming
from vrft.sft.lessons import Collator, Lesson, SampleLessons
from vrft.sft.shares import rows
from vrft.sft.trainer import Trainer, arguments
from vrft.sft.watch import RunCallback
from vrft.system import disk_errors
from vrft.task import Task
from vrft.training import best, checkpoint, own_folder, plan
from vrft.training import resume as resumption
from vrft.types import Sample


def train(config: Config, *, resume: Path | None = None) -> Path:
    """Fine-tune on the references of the split "train" and return the run folder.

    The folder is laid out as that of a training by reward. ``resume`` goes on from the latest
    checkpoint of an interrupted run. Raises UserError for what the user can mend, and
    SystemExit(128 + signal) after a checkpoint when it is told to stop.
    """
    accelerator = distributed.accelerator(config.model, config.train.ddp_timeout)
    with guarded(accelerator, config.train):
        task, samples = plan.check(config, fresh=resume is None)
        check_same(accelerator, config, samples)
        return fit(config, SampleLessons(task, samples), task, samples, resume=resume is not None)


def fit(
    config: Config,
    lessons: Sequence[Lesson],
    task: Task[Any],
    samples: Sequence[Sample[Any]] = (),
    *,
    resume: bool = False,
) -> Path:
    """Fine-tune on lessons and return the run folder, which then holds ``final``.

    ``task`` is the one that ``eval.split`` belongs to; ``samples`` are those that the lessons are
    about, by which a resumed run knows its data. With ``resume``, the run in ``train.output_dir``
    goes on from its latest checkpoint.
    """
    with contextlib.ExitStack() as stack:
        return fit_held(config, lessons, task, samples, stack, resume=resume)


def fit_held(
    config: Config,
    lessons: Sequence[Lesson],
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    stack: contextlib.ExitStack,
    *,
    resume: bool,
) -> Path:
    """Fine-tune as ``fit`` does, in a folder that ``stack`` holds: a fresh run's from here on."""
    together: Any = PartialState()
    newest = newest_checkpoint(config, together, stack) if resume else None
    name = config.model.name if newest is None else str(newest)
    learner = policy.load(replace(config.model, name=name), train=True)
    # The first lesson is encoded, as in the plan: what is refused there leaves no folder.
    collator_of(config, learner, lessons, samples)([{"row": 0}])
    # When all have read the settings that are written anew, and nobody can refuse the run.
    exchange.wait_for_everyone(together)
    watch: RunCallback | None = None
    held = partial(fresh_folder.held, steps=lambda: watch.steps if watch else 0)
    config = in_folder(config, samples, stack, together, None if resume else held)
    folder = Path(config.train.output_dir)
    stack.enter_context(steady(folder))
    stack.enter_context(disk_errors.explained(folder))
    step = 0 if newest is None else checkpoint.step_of(newest)
    log: RunLog | None = None
    if together.is_main_process:
        launches.write(folder, resumption.launch(config, step + 1, learner))
        best.restore(folder, newest, config.train.metric_for_best_model)
        log = RunLog(folder, config.train.report_to, step if resume else None, flat(config))
    collator = collator_of(config, learner, lessons, samples)
    collator.bad_pictures.restore(folder, step)
    with contextlib.closing(log) if log else nullcontext(), StopSignal() as stop:
        watch = RunCallback(config, task, learner, log, stop, collator.bad_pictures)
        train_on_lessons(config, learner, collator, watch, newest)
        if stop.number is None and together.is_main_process:
            # Before the log is closed: a tracker that fails then must not cost the model.
            with checkpoint.written_whole(folder / "final") as temporary:
                learner.save(temporary)
    exchange.wait_for_everyone(together)
    if together.is_main_process:
        say_how_it_ended(config, folder, stop)
    if stop.number is not None:
        raise SystemExit(128 + stop.number)
    return folder


def newest_checkpoint(config: Config, together: Any, stack: contextlib.ExitStack) -> Path | None:
    """Return the checkpoint that a resumed run, whose folder is held from here on, goes on from.

    None before its first. Raises UserError for one that this version cannot go on from.
    """
    newest = own_folder.held_checkpoint(Path(config.train.output_dir), together, stack)
    if newest is not None:
        resuming.check_resuming()
        resuming.check_state(newest)
    return newest


def in_folder(
    config: Config,
    samples: Sequence[Sample[Any]],
    stack: contextlib.ExitStack,
    together: Any,
    held: Callable[[Path], AbstractContextManager[None]] | None,
) -> Config:
    """Return the settings with the run's folder: a fresh one, ``held`` and claimed here.

    Without ``held`` it is that of a run which is resumed.
    """
    if held is None:
        logging.getLogger("transformers.trainer_utils").addFilter(resuming.no_mismatch)
        if together.is_main_process:
            resumption.go_on(config, Path(config.train.output_dir))
        return config
    config = own_folder.named(config, together, stack)
    if together.is_main_process:
        stack.enter_context(held(Path(config.train.output_dir)))
        own_folder.claim(config, samples, together.num_processes)
    return config


def train_on_lessons(
    config: Config,
    learner: policy.ModelPolicy,
    collator: Collator,
    watch: RunCallback,
    newest: Path | None,
) -> None:
    """Train on the collator's lessons by TRL's trainer, from a checkpoint where there is one."""
    together: Any = PartialState()
    count, processes = len(collator.lessons), together.num_processes
    steps = config.total_steps(count, processes)
    step = 0 if newest is None else checkpoint.step_of(newest)
    size = config.train.per_device_train_batch_size
    trainer = Trainer(
        model=learner.loaded.model,
        args=arguments(config, Path(config.train.output_dir), learner.loaded, steps),
        # Numbers of lessons: the collator makes a batch when it is needed, so that pictures
        # are neither held in memory all at once nor written to disk by datasets.
        train_dataset=Dataset.from_dict({"row": rows(count, size, processes)}),
        data_collator=collator,
        processing_class=learner.loaded.processor,
        callbacks=[watch],
    )
    watch.accelerator = trainer.accelerator
    trainer.improved = lambda: watch.improved
    if newest is not None:
        trainer.count_from(resuming.tokens_seen(newest))
    trainer.remove_callback(PrinterCallback)  # it would print each row of metrics.jsonl
    # transformers would take a further step before it sees that none is left.
    if step < steps:
        exchange.wait_for_everyone(together)
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))


def say_how_it_ended(config: Config, folder: Path, stop: StopSignal) -> None:
    """Print how to go on after a signal, else which checkpoint was best, where that is known."""
    if stop.number is not None:
        print(f"stopped; go on with `{run_folder.resume_command(folder)}`", file=sys.stderr)
    elif line := best.line(folder, config):
        print(line, file=sys.stderr)


def collator_of(
    config: Config,
    learner: policy.ModelPolicy,
    lessons: Sequence[Lesson],
    samples: Sequence[Sample[Any]],
) -> Collator:
    """Return the collator of a run, which has met no bad picture yet."""
    bad_pictures = BadPictures.of(config)
    limit, ids = config.sampling.max_prompt_length, [sample.id for sample in samples]
    return Collator(learner.loaded, lessons, limit, bad_pictures, ids)
