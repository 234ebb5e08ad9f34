"""Supervised fine-tuning on a task's reference answers: the baseline and the cold start.

The loop is TRL's SFTTrainer, in one process. Prompts and pictures are encoded as everywhere else in
the toolkit, so a model that starts here meets nothing new when it is trained by reward. The loss is
taken on the answer alone, its end token included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from vrft import policy
from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import evaluate
from vrft.models import conversation, encoding
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy
from vrft.progress import progress
from vrft.task import Task
from vrft.training import checkpoint, data_fingerprint, plan, run_folder
from vrft.training import resume as resumption
from vrft.training.run_log import RunLog
from vrft.types import Prompt, Sample, View

IGNORED = -100
"""The label of a token that has no part in the loss, by PyTorch's convention."""


def train(config: Config, *, resume: Path | None = None, dry_run: bool = False) -> Path:
    """Fine-tune on the references of the split "train" and return the run folder.

    The folder is laid out as that of a training by reward. ``resume`` goes on from the latest
    checkpoint of an interrupted run; ``dry_run`` checks everything, prints the plan and trains
    nothing. Raises UserError for what the user can mend, and SystemExit(128 + signal) after a
    checkpoint when it is told to stop.
    """
    if dry_run:
        text = plan.plan_text(config, fresh=resume is None)
        print("\n".join([text, *(resumption.lines(config, resume) if resume else [])]))
        return Path(config.train.output_dir)
    task, samples = plan.check(config, fresh=resume is None)
    lessons = [Lesson(task.prompt(sample), partial(task.reference, sample)) for sample in samples]
    return fit(config, lessons, task, samples, resume=resume is not None)


@dataclass(frozen=True)
class Lesson:
    """A prompt, and its answer: a function of the views in which the model sees the pictures."""

    prompt: Prompt
    answer: Callable[[tuple[View, ...]], str]


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
    newest = checkpoint.latest(Path(config.train.output_dir)) if resume else None
    if newest is not None:
        check_resuming()
        check_state(newest)
    name = config.model.name if newest is None else str(newest)
    learner = policy.load(replace(config.model, name=name), train=True)
    if resume:
        logging.getLogger("transformers.trainer_utils").addFilter(no_mismatch)
        resumption.go_on(config, Path(config.train.output_dir))
    else:
        config = run_folder.claim(config)  # not before the model: a wrong name leaves no folder
        train = config.train
        prompts = train.per_device_train_batch_size * train.gradient_accumulation_steps
        data_fingerprint.write(Path(train.output_dir), samples, prompts)
    folder = Path(config.train.output_dir)
    step = 0 if newest is None else checkpoint.step_of(newest)
    log = RunLog(folder, config.train.report_to, step if resume else None, flat(config))
    with contextlib.closing(log), run_folder.StopSignal() as stop:
        trainer = Trainer(
            model=learner.loaded.model,
            args=arguments(config, folder, learner.loaded),
            # Numbers of lessons: the collator makes a batch when it is needed, so that pictures
            # are neither held in memory all at once nor written to disk by datasets.
            train_dataset=Dataset.from_dict({"row": list(range(len(lessons)))}),
            data_collator=Collator(learner.loaded, lessons, config.sampling.max_prompt_length),
            processing_class=learner.loaded.processor,
            callbacks=[Watch(config, task, learner, log, stop)],
        )
        trainer.remove_callback(PrinterCallback)  # it would print each row of metrics.jsonl
        # transformers would take a further step before it sees that none is left.
        if step < plan.total_steps(config, len(lessons), 1):
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        if stop.number is None:
            # Before the log is closed: a tracker that fails then must not cost the model.
            with checkpoint.written_whole(folder / "final") as temporary:
                learner.save(temporary)
    if stop.number is not None:
        print(f"stopped; go on with `vrft train --resume {folder}`", file=sys.stderr)
        raise SystemExit(128 + stop.number)
    return folder


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
            learning_rate=train.learning_rate,
            lr_scheduler_type=train.lr_scheduler_type,
            warmup_steps=train.warmup_ratio,  # below 1 a share of all steps, to transformers
            weight_decay=train.weight_decay,
            adam_beta1=train.adam_beta1,
            adam_beta2=train.adam_beta2,
            adam_epsilon=train.adam_epsilon,
            max_grad_norm=train.max_grad_norm,
            seed=train.seed,
            save_steps=train.save_steps,
            save_total_limit=train.save_total_limit,
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


@dataclass(frozen=True)
class Collator:
    """The batch maker of transformers' loader: lessons by their numbers to a model's inputs.

    Pictures are opened here, when a batch needs them, through the cache that training by reward
    uses: later epochs find them as the processor made them.
    """

    loaded: LoadedModel
    lessons: Sequence[Lesson]
    max_prompt_length: int | None

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Return the batch; raise UserError for prompts and answers that cannot be encoded."""
        lessons = [self.lessons[row["row"]] for row in rows]
        prompts = [
            encoding.encode(self.loaded, lesson.prompt, self.max_prompt_length)
            for lesson in lessons
        ]
        answers = []
        for lesson, prompt in zip(lessons, prompts, strict=True):
            # The answer depends on what the model sees: boxes are in pixels of the resized picture.
            text = lesson.answer(prompt.views).removeprefix(lesson.prompt.prefill)
            fault = conversation.unreadable(text)
            if fault:
                raise UserError(f"the answer {text[:60]!r} has {fault} in it; remove it from the "
                                "data")  # fmt: skip
            tokens = self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
            answers.append([*tokens, self.loaded.tokenizer.eos_token_id])
        return pad_right(self.loaded, prompts, answers)


def pad_right(
    loaded: LoadedModel, prompts: Sequence[Encoded], answers: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Return prompts with their answers' tokens as the inputs of the model's own forward.

    Rows [B, L] are padded on the right; ``labels`` [B, L] hold the answers' tokens, and IGNORED on
    prompts and padding. Pictures of all rows stand one after the other in ``pixel_values``
    [patches, values] and ``image_grid_thw`` [images, 3].
    """
    pad = partial(pad_sequence, batch_first=True)
    tails = [torch.tensor(answer) for answer in answers]
    tokens = [torch.cat([p.tokens, tail]) for p, tail in zip(prompts, tails, strict=True)]
    labels = [F.pad(tail, (len(p.tokens), 0), value=IGNORED)
              for p, tail in zip(prompts, tails, strict=True)]  # fmt: skip
    batch = {
        "input_ids": pad(tokens, padding_value=float(loaded.tokenizer.pad_token_id)),
        "attention_mask": pad([torch.ones_like(row) for row in tokens]),
        "labels": pad(labels, padding_value=IGNORED),
    }
    if loaded.vision_tower is not None:
        # The model derives its three-dimensional positions from these: 1 on a picture's tokens.
        image = loaded.core.config.image_token_id
        types = [F.pad((p.tokens == image).long(), (0, len(tail)))
                 for p, tail in zip(prompts, tails, strict=True)]  # fmt: skip
        batch["mm_token_type_ids"] = pad(types)
    pictures = [picture for prompt in prompts for picture in prompt.pictures]
    if pictures:
        batch["pixel_values"] = torch.cat([picture.patches for picture in pictures])
        batch["image_grid_thw"] = torch.cat([picture.grid for picture in pictures])
    return batch


class Trainer(SFTTrainer):
    """TRL's trainer, without its model card and without its way of loading weights."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card into checkpoints: config.yaml says what the run was."""

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Take a forward and a backward; raise UserError for a loss that is not finite."""
        loss: Tensor = super().training_step(*args, **kwargs)  # type: ignore[no-untyped-call]
        check_finite(self.state.global_step, "loss", float(loss))
        return loss

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Load no weights: those of the checkpoint are in the model already.

        transformers would match them by name. It would find the published names of Qwen2-VL in
        the file, which are not those of its own module, and go on with the weights it has.
        """


def check_finite(step: int, name: str, value: float) -> None:
    """Raise UserError unless the loss or gradient's norm of the step after ``step`` is finite.

    transformers would leave NaN out of its log, and step on it.
    """
    if not math.isfinite(value):
        raise UserError(
            f"step {step + 1}: the {name} is {value}; lower train.learning_rate, or set "
            "model.dtype=float32; nothing was updated, and the last checkpoint is good"
        )


def check_resuming() -> None:
    """Raise UserError where transformers loads a checkpoint's weights under another name.

    ``Trainer`` could not keep it from doing so, and the run would go on with other weights.
    """
    if not hasattr(SFTTrainer, "_load_from_checkpoint"):
        raise UserError(
            "this transformers loads checkpoints in a way of its own; resume the run with the "
            "transformers that pyproject.toml names"
        )


def no_mismatch(record: logging.LogRecord) -> bool:
    """Hide transformers' warning of intervals that a resumed run changes: `Watch` applies them."""
    return "The following arguments do not match" not in record.getMessage()


def check_state(folder: Path) -> None:
    """Raise UserError for a checkpoint that transformers could not go on from.

    It reads ``trainer_state.json`` without asking for types, and leaves an optimizer out that it
    does not find.
    """
    row = checkpoint.read_state(folder)
    types = {field.name: field.type for field in dataclasses.fields(TrainerState)}
    for name, value in row.items():
        if name not in types:
            raise checkpoint.broken(folder, f"it has an unknown {name}")
        if types[name] is bool and not isinstance(value, bool):
            raise checkpoint.broken(folder, f"{name} is {str(value)[:40]!r}")
        if types[name] in (int, float):
            checkpoint.count(row, name, folder, whole=types[name] is int)
    checkpoint.check_step(folder, checkpoint.count(row, "global_step", folder))
    for name, expected in (("log_history", list), ("stateful_callbacks", dict)):
        if not isinstance(row.get(name), expected):
            raise checkpoint.broken(folder, f"it has no {expected.__name__} of {name}")
    for file in ("optimizer.pt", "scheduler.pt"):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder} has no {file}; delete this checkpoint to resume from the one before"
            )


class Watch(TrainerCallback):
    """The callback that gives a TRL run our progress, log, evaluation and stop on a signal."""

    def __init__(
        self,
        config: Config,
        task: Task[Any],
        learner: ModelPolicy,
        log: RunLog,
        stop: run_folder.StopSignal,
    ) -> None:
        self.config, self.task, self.learner = config, task, learner
        self.log, self.stop = log, stop
        self.console = contextlib.ExitStack()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the progress display, and give a resumed run the settings of this start.

        transformers has put those of the checkpoint back: the former schedule, rates and intervals.
        """
        if state.global_step > 0:
            self.renew(kwargs["optimizer"], kwargs["lr_scheduler"], state.global_step)
            state.compute_steps(args, state.max_steps)
        display = progress(state.max_steps, "fine-tuning", done=state.global_step)
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
        """Append what TRL reports of a step to metrics.jsonl."""
        if logs:
            self.log.metrics(state.global_step, logs)
            if "loss" in logs:
                self.display.note(f"loss {logs['loss']:.3f}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate every ``eval_steps`` and at the end; save and stop when a signal has come."""
        self.display.advance(1)
        every, last = self.config.train.eval_steps, state.global_step == state.max_steps
        due = last or (every > 0 and state.global_step % every == 0)
        if self.config.eval.split and due:
            self.log.metrics(
                state.global_step, evaluate.while_training(self.config, self.task, self.learner)
            )
        if self.stop.number is not None:
            # transformers writes the checkpoint and ends the loop when this callback returns.
            control.should_save = control.should_training_stop = True
