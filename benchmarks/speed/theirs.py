"""TRL's side: its GRPOTrainer at its best, in its own loop.

No reference model, accumulation aligned with generation so that no old log-probabilities are
needed, all rows of a step generated at once, whole groups in a micro-batch, and the head on
completion tokens only, as on CUDA.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PrinterCallback,
    TrainerCallback,
)
from trl.trainer import utils
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.speed.ours import Completions
from benchmarks.speed.questions import SEED, Questions, lottery
from benchmarks.speed.watch import Clock, Step, Watched
from vrft import models
from vrft.images import open_image
from vrft.models import families
from vrft.rewards import to_trl
from vrft.task import Task
from vrft.types import Sample


class TimedTrainer(GRPOTrainer):
    """TRL's trainer that tells the clock what it does, keeps what it sampled, and cuts completions
    as the setting has it: it decodes all of a batch for as long as the longest takes anyway."""

    clock: Clock
    lengths: tuple[int, ...]
    completions: Completions
    logps_of: dict[tuple[int, ...], Tensor]

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        with self.clock.during("rollout"):
            drawn, logprobs = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[no-untyped-call]
        rows = [row[:n] for row, n in zip(drawn, cycle(self.lengths), strict=False)]
        self.completions = {}
        for prompt, row in zip(prompt_ids, rows, strict=True):
            self.completions.setdefault(tuple(prompt), []).append(tuple(row))
        return rows, logprobs

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.clock.during("forward"):
            return super().compute_loss(*args, **kwargs)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, mask: Tensor, width: int, *args: Any, **kwargs: Any
    ) -> Any:
        found = super()._get_per_token_logps_and_entropies(
            model, input_ids, mask, width, *args, **kwargs
        )
        lengths = mask[:, -width:].sum(1).tolist()
        for tokens, length, row in zip(
            input_ids[:, -width:].tolist(), lengths, found[0].detach(), strict=True
        ):
            self.logps_of[tuple(tokens[:length])] = row[:length]
        return found


class Turns(TrainerCallback):
    """Times every optimizer step, and gives the other side its turn after it."""

    def __init__(self, watched: Watched, after: Callable[[Step], bool]) -> None:
        self.watched, self.after = watched, after

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watched.watch_optimizer(kwargs["optimizer"].optimizer)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watched.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.after(self.watched.clock.stop()):
            control.should_training_stop = True


class Theirs(Watched):
    """TRL's trainer on the benchmark's task."""

    def __init__(
        self, questions: Questions, folder: Path, device: str, *, checkpointing: bool = False
    ) -> None:
        score_completions_only()
        auto: Any = AutoModelForImageTextToText
        if not questions.setting.pictures:
            auto = AutoModelForCausalLM
        # On a GPU in half precision, or TRL's generation would cast all weights for each token.
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = auto.from_pretrained(folder, dtype=dtype).to(device)
        super().__init__(model, processor(folder))
        with tempfile.TemporaryDirectory() as unused:
            config = configuration(questions, unused, device, checkpointing=checkpointing)
        samples = questions.samples("train")
        ordered = [samples[index] for index in questions.order()]
        config.generation_kwargs = config.generation_kwargs | {"suppress_tokens": banned(self)}
        self.trainer = TimedTrainer(
            model=model,
            reward_funcs=to_trl("lottery", lottery, samples),
            args=config,
            train_dataset=dataset(questions, ordered),
            processing_class=self.processor,
        )
        self.trainer.remove_callback(PrinterCallback)
        self.trainer.clock, self.trainer.lengths = self.clock, questions.setting.lengths
        self.trainer.completions, self.trainer.logps_of = {}, {}
        self.watch_backward(self.trainer.accelerator)

    def train(self, after: Callable[[Step], bool]) -> None:
        """TRL's own loop; ``after`` is called with each step's times, until it returns False."""
        self.trainer.add_callback(Turns(self, after))
        self.trainer.train()


def processor(folder: Path | str) -> Any:
    """A model's processor as TRL loads it: on the other side, its types of tokens would not stand
    beside the tokens, which it always pads on the left."""
    made: Any = families.load_processor(str(folder))
    getattr(made, "tokenizer", made).padding_side = "left"
    return made


def score_completions_only() -> None:
    """TRL's head on completion tokens alone on a CPU too, where it would score the prompt as well.

    It is meant for Triton's kernels, but the tiles that it chooses are plain torch.
    """
    utils._use_triton = lambda device: True  # type: ignore[attr-defined]


def configuration(questions: Questions, folder: str, device: str, *, checkpointing: bool) -> Any:
    """TRL's defaults but for what the module's head says."""
    setting = questions.setting
    return GRPOConfig(
        output_dir=folder,
        use_cpu=device == "cpu",
        bf16=device != "cpu",
        activation_checkpointing=checkpointing,
        gradient_checkpointing=None,  # type: ignore[arg-type]  # the old name of the line above
        beta=0.0,
        num_generations=setting.generations,
        per_device_train_batch_size=setting.generations,
        gradient_accumulation_steps=setting.prompts,
        max_completion_length=setting.completion,
        generation_kwargs={"min_new_tokens": setting.completion},
        max_steps=questions.steps,
        max_grad_norm=1e9,
        shuffle_dataset=False,
        seed=SEED,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )


def banned(side: Watched) -> list[int]:
    """The tokens that our side never samples."""
    family = families.FAMILIES[side.model.config.model_type]
    return list(models.LoadedModel(side.model, side.processor, family).banned_ids)


def dataset(task: Task[Any], samples: Sequence[Sample[Any]]) -> Dataset:
    """Samples of a task as TRL reads them, in this order, with pictures as in memory."""
    prompts = {sample.id: task.prompt(sample) for sample in samples}
    pictures = {key: [open_image(one) for one in p.images] for key, p in prompts.items()}
    messages = {key: [{"role": "user", "content": p.text}] for key, p in prompts.items()}
    rows = Dataset.from_list(
        [{"sample_id": sample.id, "prompt": messages[sample.id]} for sample in samples]
    )

    def with_pictures(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return batch | {"images": [pictures[key] for key in batch["sample_id"]]}

    return rows.with_transform(with_pictures) if any(pictures.values()) else rows
