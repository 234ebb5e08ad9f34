"""TRL's SFTTrainer under our settings: what it is told, and what it does otherwise than alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.processes import distributed, exchange
from vrft.sft.lessons import IGNORED
from vrft.sft.shares import EMPTY, EqualShares
from vrft.system.waiting import waiting
from vrft.training import best, checkpoint, trainer_state


def arguments(config: Config, folder: Path, loaded: LoadedModel, steps: int) -> SFTConfig:
    """Return the configuration of a run of ``steps`` as TRL's.

    What it does not name is off, whatever TRL's default.
    """
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
            # In steps, as a ratio of 1 would be a single one to transformers.
            warmup_steps=math.ceil(train.warmup_ratio * steps),
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
            save_total_limit=None,  # `RunCallback` deletes what is neither new enough nor the best
            logging_steps=train.logging_steps,
            bf16=distributed.trainers_precision(config.model) == "bfloat16",
            fp16=False,  # refused: nobody handles the overflows of its scaler
            use_cpu=loaded.device.type == "cpu",
            gradient_checkpointing=False,  # the model's loader has turned it on where it is wanted
            # The rows are numbers, which only our collator understands.
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            max_length=None,  # TRL would cut longer prompts, in the middle of a picture's tokens
            disable_tqdm=True,  # `RunCallback` shows the run's own progress
            report_to="none",  # `RunLog` reports
        )


class Trainer(SFTTrainer):
    """TRL's trainer, without its model card and without its way of loading weights.

    ``improved`` returns the evaluation by which the checkpoint of this step is the best so far.
    """

    improved: Callable[[], best.Best | None]

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
        """Log and save after a step; it is `RunCallback` that evaluates."""
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
                if (improved := self.improved()) is not None:
                    best.write(temporary, improved)
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
            self.state.save_to_json(str(temporary / trainer_state.STATE))

    def count_from(self, tokens: int) -> None:
        """Go on counting at the tokens that a run has trained on before, which TRL forgets."""
        self._total_train_tokens = tokens

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
