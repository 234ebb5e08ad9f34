"""The callback that watches over the steps of TRL's trainer: progress, log, evaluation, stop."""

from __future__ import annotations

import contextlib
import io
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vrft.config.schema import Config
from vrft.evaluation import evaluate
from vrft.policy.policy import ModelPolicy
from vrft.processes import exchange
from vrft.progress import progress
from vrft.runs.bad_pictures import BadPictures
from vrft.runs.console import step_texts
from vrft.runs.run_log import RunLog
from vrft.runs.stop_signal import StopSignal
from vrft.sft.trainer import check_finite
from vrft.task import Task
from vrft.training import best, checkpoint


class RunCallback(TrainerCallback):
    """The callback that gives a TRL run our progress, log, evaluation and stop on a signal.

    Only the main process has a ``log``.
    """

    def __init__(
        self,
        config: Config,
        task: Task[Any],
        learner: ModelPolicy,
        log: RunLog | None,
        stop: StopSignal,
        bad_pictures: BadPictures,
    ) -> None:
        self.config, self.task, self.learner = config, task, learner
        self.log, self.stop, self.bad_pictures = log, stop, bad_pictures
        self.folder = Path(config.train.output_dir)
        self.improved: best.Best | None = None
        self.resumed = False
        self.steps = 0  # that this process has taken
        self.scores: dict[str, float] = {}
        self.console = contextlib.ExitStack()
        self.accelerator: Accelerator
        """The trainer's, once the trainer has been made."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the progress display, and give a resumed run the settings of this start.

        transformers has put those of the checkpoint back: the former schedule, rates and intervals.
        """
        self.resumed = state.global_step > 0
        if self.resumed:
            self.renew(kwargs["optimizer"], kwargs["lr_scheduler"], state.global_step)
            state.compute_steps(args, state.max_steps)
        every = self.config.train.logging_steps
        done = state.global_step
        stream = sys.stderr if self.log else io.StringIO()  # one process speaks for all
        display = progress(state.max_steps, "fine-tuning", done=done, stream=stream, every=every)
        self.display = self.console.enter_context(display)

    def renew(self, optimizer: Any, scheduler: Any, step: int) -> None:
        """Set an optimizer and its schedule, as they are after a step, to the configuration."""
        train = self.config.train
        # The groups of transformers' trainer: what decays, then biases and norms, as everywhere.
        for group, decay in zip(optimizer.param_groups, (train.weight_decay, 0.0), strict=True):
            betas = (train.adam_beta1, train.adam_beta2)
            group.update(
                initial_lr=train.learning_rate,
                weight_decay=decay,
                betas=betas,
                eps=train.adam_epsilon,
            )
        rates = [train.learning_rate] * len(optimizer.param_groups)
        scheduler.load_state_dict(scheduler.state_dict() | {"base_lrs": rates})
        checkpoint.set_schedule(scheduler, step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the progress display."""
        self.console.close()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raise UserError for a gradient that is not finite."""
        parameters = self.learner.module.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        check_finite(state.global_step, "gradient's norm", norm)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append what TRL reports of a step to metrics.jsonl.

        The account of a run at its end is left out where a signal has stopped it: it goes on.
        """
        account = "train_loss" in (logs or {})
        if logs and not (account and self.stop.number is not None):
            if account and self.resumed:
                logs = logs | {"train_loss": mean_loss(state)}
            logs = logs | self.bad_pictures.exchange(self.accelerator)
            if self.log:
                self.log.metrics(state.global_step, logs)
                if control.should_save:  # right after this
                    self.log.sync()
            if "loss" in logs:
                self.display.note(*step_texts(logs, self.scores))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate every ``eval_steps`` and at the end; save what is the best so far.

        When a signal has come, save and stop. transformers writes the checkpoint and ends the loop
        when this callback has returned.
        """
        self.steps += 1
        self.display.advance(1)
        self.bad_pictures.exchange(self.accelerator)
        if self.log:
            for line in self.bad_pictures.write(self.folder, state.global_step):
                print(line, file=sys.stderr)
        every, last = self.config.train.eval_steps, state.global_step == state.max_steps
        due = last or (every > 0 and state.global_step % every == 0)
        if self.config.eval.split and due:
            self.evaluate(state)
            control.should_save |= self.improved is not None
        # A signal may have reached only some of the processes: all stop after the same step.
        number = exchange.max_over_ranks(self.accelerator, self.stop.number or 0)
        if number:
            self.stop.number = number
            control.should_save = control.should_training_stop = True

    def evaluate(self, state: TrainerState) -> None:
        """Evaluate on ``eval.split``, and remember whether the model is the best so far."""
        step = state.global_step
        with self.accelerator.autocast():  # in the precision of the lessons
            scores = evaluate.while_training(self.config, self.task, self.learner)
        self.scores = scores
        improved: best.Best | None = None
        if self.log:
            self.log.metrics(step, scores)
            improved = best.better(self.config, self.folder, step, scores)
        self.improved = exchange.from_main(self.accelerator, improved)  # all save, or none
        if self.improved is not None:
            # By transformers' names, for whoever reads its trainer_state.json.
            state.best_global_step, state.best_metric = step, self.improved.value
            state.best_model_checkpoint = str(checkpoint.path_of(self.folder, step))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Name the best checkpoint once it is complete, and delete those that are not kept."""
        self.improved = None
        if self.log is None:
            return
        best.publish(self.folder, checkpoint.path_of(self.folder, state.global_step))
        spared = best.folder_of(self.folder, self.config)
        limit = self.config.train.save_total_limit
        checkpoint.prune(self.folder, state.global_step, limit, spared)


def mean_loss(state: TrainerState) -> float:
    """Return the mean loss of a run's steps, by its log.

    transformers takes the mean of the steps since the run was resumed.
    """
    rows = [row for row in state.log_history if "loss" in row]
    steps = [0, *(row["step"] for row in rows)]
    total = sum(row["loss"] * (step - before)
                for row, (before, step) in zip(rows, pairwise(steps), strict=True))  # fmt: skip
    return float(total / max(steps[-1], 1))
