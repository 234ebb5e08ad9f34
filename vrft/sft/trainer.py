"""TRL's SFTTrainer under our settings, and the callback that watches over its steps."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import evaluate
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy
from vrft.processes import exchange
from vrft.progress import progress
from vrft.runs import run_folder
from vrft.runs.bad_pictures import BadPictures
from vrft.runs.console import step_texts
from vrft.runs.run_log import RunLog
from vrft.sft.lessons import IGNORED
from vrft.sft.shares import EMPTY, EqualShares
from vrft.task import Task
from vrft.training import best, checkpoint
from vrft.waiting import waiting


def arguments(config: Config, folder: Path, loaded: LoadedModel) -> SFTConfig:
    """Return the configuration as TRL's; what it does not name is off, whatever TRL's default."""
    train = config.train
    with warnings.catch_warnings():
        # TRL turns checkpointing on unless told not to, by a name that transformers calls old.
        warnings.filterwarnings("ignore", "`gradient_checkpointing`", FutureWarning)
        return SFTConfig(
            output_dir=str(folder),
            max_steps=train.max_steps,
            num_train_epochs=train.num_train_epochs,
            per_device_train_batch_size=train.per_device_train_batch_size,
            gradient_accumulation_steps=train.gradient_accumulation_steps,
            optim="adamw_bnb_8bit" if train.optim == "adamw_bnb_8bit" else "adamw_torch_fused",
            learning_rate=train.learning_rate,
            lr_scheduler_type=train.lr_scheduler_type,
            warmup_steps=train.warmup_ratio,  # below 1 a share of all steps, to transformers
            weight_decay=train.weight_decay,
            adam_beta1=train.adam_beta1,
            adam_beta2=train.adam_beta2,
            adam_epsilon=train.adam_epsilon,
            max_grad_norm=train.max_grad_norm,
            seed=train.seed,
            ddp_timeout=train.ddp_timeout,
            # A process whose lessons have no picture does not reach the vision tower, and no token
            # of it need reach an expert.
            ddp_find_unused_parameters=True,
            average_tokens_across_devices=True,  # a mean over the tokens of all processes
            save_steps=train.save_steps,
            save_total_limit=None,  # `Watch` deletes what is neither new enough nor the best
            logging_steps=train.logging_steps,
            bf16=loaded.device.type == "cuda" and config.model.dtype in ("auto", "bfloat16"),
            use_cpu=loaded.device.type == "cpu",
            gradient_checkpointing=False,  # the model's loader has turned it on where it is wanted
            # The rows are numbers, which only our collator understands.
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            max_length=None,  # TRL would cut longer prompts, in the middle of a picture's tokens
            disable_tqdm=True,  # `Watch` shows the run's own progress
            report_to="none",  # `RunLog` reports
        )


class Trainer(SFTTrainer):
    """TRL's trainer, without its model card and without its way of loading weights."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card into checkpoints: config.yaml says what the run was."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the order of the lessons, which are dealt to several processes in equal shares."""
        if self.accelerator.num_processes == 1:
            return super()._get_train_sampler(train_dataset)
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        numbers = rows["row"]
        return EqualShares(sum(number != EMPTY for number in numbers), len(numbers))

    @waiting()  # for the other processes, as are all waits of transformers' loop
    def _get_num_items_in_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Return the tokens in the loss of a step, of all processes."""
        return super()._get_num_items_in_batch(*args, **kwargs)

    @waiting()
    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log and save after a step; it is `Watch` that evaluates."""
        super()._maybe_log_save_evaluate(*args, **kwargs)

    @waiting()
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Take a forward and a backward; raise UserError for a loss that is not finite."""
        loss: Tensor = super().training_step(*args, **kwargs)  # type: ignore[no-untyped-call]
        check_finite(self.state.global_step, "loss", float(loss))
        if self.accelerator.num_processes > 1:
            self.forget_empty(args[1] if len(args) > 1 else kwargs["inputs"])
        return loss

    def forget_empty(self, inputs: Mapping[str, Tensor]) -> None:
        """Take the tokens of empty lessons, of all processes, off those that TRL has counted."""
        empty = inputs["labels"].eq(IGNORED).all(1)
        tokens = inputs["attention_mask"][empty].sum()[None]
        self._total_train_tokens -= int(exchange.gather(self.accelerator, tokens).sum())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint as a whole, with a manifest, as runs by reward do."""
        folder, step = Path(self.args.output_dir or ""), self.state.global_step
        # A field that transformers leaves at 0 unless it is asked to count, as nobody asks it to.
        self.state.num_input_tokens_seen = getattr(self, "_total_train_tokens", 0)
        target = checkpoint.path_of(folder, step)
        with checkpoint.written_together(target, self.accelerator) as temporary:
            self.args.output_dir = str(temporary)
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
            finally:
                self.args.output_dir = str(folder)
            exchange.wait_for_everyone(self.accelerator)  # each writes its random state
            if self.accelerator.is_main_process:
                self.lift(checkpoint.path_of(temporary, step), temporary)
        exchange.wait_for_everyone(self.accelerator)

    def lift(self, inner: Path, temporary: Path) -> None:
        """Move a checkpoint out of the folder of its step, which transformers makes in its own."""
        for path in inner.iterdir():
            path.rename(temporary / path.name)
        inner.rmdir()
        if self.state.best_global_step:
            folder = Path(self.args.output_dir or "")
            named = checkpoint.path_of(folder, self.state.best_global_step)
            self.state.best_model_checkpoint = str(named)
            self.state.save_to_json(str(temporary / checkpoint.STATE))

    def count_from(self, tokens: int) -> None:
        """Go on counting at the tokens that a run has trained on before, which TRL forgets."""
        self._total_train_tokens = tokens

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Load no weights: those of the checkpoint are in the model already.

        transformers would match them by name. It would find the published names of Qwen2-VL in
        the file, which are not those of its own module, and go on with the weights it has.
        """


class Watch(TrainerCallback):
    """The callback that gives a TRL run our progress, log, evaluation and stop on a signal."""

    def __init__(
        self,
        config: Config,
        task: Task[Any],
        learner: ModelPolicy,
        log: RunLog | None,
        stop: run_folder.StopSignal,
        bad_pictures: BadPictures,
    ) -> None:
        self.config, self.task, self.learner = config, task, learner
        self.log, self.stop, self.bad_pictures = log, stop, bad_pictures
        self.folder = Path(config.train.output_dir)
        self.improved: best.Best | None = None
        self.resumed = False
        self.scores: dict[str, float] = {}
        self.console = contextlib.ExitStack()
        self.accelerator: Accelerator
        """The trainer's, once that has been made; only the main process has a log."""

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
        self.scores = scores = evaluate.while_training(self.config, self.task, self.learner)
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
        improved, self.improved = self.improved, None
        if self.log is None:
            return
        if improved is not None:
            best.write(self.folder, improved)
        spared = best.folder_of(self.folder, self.config)
        checkpoint.prune(self.folder, self.config.train.save_total_limit, spared)


def mean_loss(state: TrainerState) -> float:
    """Return the mean loss of a run's steps, by its log.

    transformers takes the mean of the steps since the run was resumed.
    """
    rows = [row for row in state.log_history if "loss" in row]
    steps = [0, *(row["step"] for row in rows)]
    total = sum(row["loss"] * (step - before)
                for row, (before, step) in zip(rows, pairwise(steps), strict=True))  # fmt: skip
    return float(total / max(steps[-1], 1))


def check_finite(step: int, name: str, value: float) -> None:
    """Raise UserError unless the loss or gradient's norm of the step after ``step`` is finite.

    transformers would leave NaN out of its log, and step on it.
    """
    if not math.isfinite(value):
        raise UserError(
            f"step {step + 1}: the {name} is {value}; lower train.learning_rate, or set "
            "model.dtype=float32; nothing was updated, and the last checkpoint is good"
        )
