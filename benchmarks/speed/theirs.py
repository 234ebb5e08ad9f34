"""TRL's side: its GRPOTrainer at its best, in its own loop.

No reference model, accumulation aligned with generation so that no old log-probabilities are
needed, all rows of a step generated at once, whole groups in a micro-batch, and the head on
completion tokens only, as on CUDA.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
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

from benchmarks.speed.contestant import Contestant, Step
from benchmarks.speed.questions import SEED, Questions, lottery
from benchmarks.speed.settings import Setting
from vrft import models
from vrft.images import open_image
from vrft.models import families, processors
from vrft.rewards import to_trl
from vrft.task import Task
from vrft.types import Sample


class TimedTrainer(GRPOTrainer):
    """TRL's trainer that tells its contestant what it does."""

    side: Contestant

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        with self.side.clock.during("rollout"):
            sampled = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[no-untyped-call]
        if self.side.record is not None:
            # TRL repeats a prompt for each of its completions
            for prompt, tokens in zip(prompt_ids, sampled[0], strict=True):
                self.side.record.completions.setdefault(tuple(prompt), []).append(tuple(tokens))
        return sampled

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, mask: Tensor, width: int, *args: Any, **kwargs: Any
    ) -> Any:
        with self.side.clock.during("forward"):
            out = super()._get_per_token_logps_and_entropies(
                model, input_ids, mask, width, *args, **kwargs
            )
        if self.side.record is not None:
            # prompts are padded on the left, completions [rows, width] on the right
            lengths = mask[:, -width:].sum(1).tolist()
            completions = input_ids[:, -width:].tolist()
            for tokens, length, logps in zip(completions, lengths, out[0].detach(), strict=True):
                self.side.record.logps[tuple(tokens[:length])] = logps[:length].cpu()
        return out


class StepTimer(TrainerCallback):
    """A callback that times every optimizer step, and then asks whether to go on."""

    def __init__(self, side: Contestant, after_step: Callable[[Step], bool]) -> None:
        self.side, self.after_step = side, after_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Watch the optimizer, which TRL makes only now."""
        self.side.watch_optimizer(kwargs["optimizer"].optimizer)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a step."""
        self.side.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the step, and the training where that is asked for."""
        if not self.after_step(self.side.clock.stop()):
            control.should_training_stop = True


class Theirs(Contestant):
    """TRL's trainer on the race's task."""

    trainer_type: type[TimedTrainer] = TimedTrainer

    def __init__(
        self, questions: Questions, folder: Path, device: str, *, checkpointing: bool = False
    ) -> None:
        setting = questions.setting
        auto: Any = AutoModelForImageTextToText if setting.pictures else AutoModelForCausalLM
        # On a GPU in half precision, or TRL's generation would cast all weights for each token.
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = auto.from_pretrained(folder, dtype=dtype).to(device)
        super().__init__(model, load_processor(folder))
        samples = questions.samples("train")
        family = families.FAMILIES[model.config.model_type]
        self.trainer = make_trainer(
            self.trainer_type,
            model=model,
            processor=self.processor,
            rewards=[to_trl("lottery", lottery, samples)],
            data=dataset(questions, [samples[index] for index in questions.order()]),
            use_cpu=device == "cpu",
            bf16=device != "cpu",
            activation_checkpointing=checkpointing,
            num_generations=setting.generations,
            # TRL counts completions: a micro-batch is a group, as on our side
            per_device_train_batch_size=setting.generations,
            gradient_accumulation_steps=setting.prompts,
            max_completion_length=setting.completion,
            max_steps=questions.steps,
            max_grad_norm=1e9,  # the norm is computed on both sides, and nothing is clipped
            seed=SEED,
            **self.sampling(setting, models.LoadedModel(model, self.processor, family)),
        )
        self.trainer.side = self
        self.watch_backward(self.trainer.accelerator)

    def sampling(self, setting: Setting, loaded: models.LoadedModel) -> dict[str, Any]:
        """Return the settings by which no completion ends early.

        What our side never samples is banned, so that both sample from the same distribution.
        """
        return {
            "banned": loaded.banned_ids,
            "generation_kwargs": {"min_new_tokens": setting.completion},
        }

    def train(self, after_step: Callable[[Step], bool]) -> None:
        """Run TRL's own loop; ``after_step`` gets each step's times and says whether to go on."""
        self.trainer.add_callback(StepTimer(self, after_step))
        self.trainer.train()


def make_trainer(
    trainer: type[GRPOTrainer],
    *,
    model: Any,
    processor: Any,
    rewards: Sequence[Any],
    data: Dataset,
    banned: Sequence[int],
    generation_kwargs: dict[str, Any],
    activation_checkpointing: bool,
    **settings: Any,
) -> Any:
    """Return TRL's trainer with these settings of its GRPOConfig, quiet and without a penalty.

    The ``banned`` tokens are those that our side never samples; vLLM, which has another word for
    them, is given none.
    """
    suppressed = {"suppress_tokens": list(banned)} if banned else {}
    # The head on completion tokens alone on a CPU too, where TRL would score the prompt as well.
    # The switch is meant for Triton's kernels, but the tiles that it chooses are plain torch.
    utils._use_triton = lambda device: True  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as unused:
        config = GRPOConfig(
            output_dir=unused,  # nothing is written there
            **checkpointing_setting(activation_checkpointing),
            beta=0.0,
            generation_kwargs=generation_kwargs | suppressed,
            shuffle_dataset=False,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            **settings,
        )
    built = trainer(
        model=model,
        reward_funcs=list(rewards),
        args=config,
        train_dataset=data,
        processing_class=processor,
    )
    built.remove_callback(PrinterCallback)  # it prints every log
    return built


def checkpointing_setting(value: bool) -> dict[str, Any]:
    """Return the settings of checkpointing by the names that the installed transformers has.

    The one that vLLM asks for knows the old name alone.
    """
    if hasattr(GRPOConfig, "activation_checkpointing"):
        return {"gradient_checkpointing": None, "activation_checkpointing": value}
    return {"gradient_checkpointing": value}


def load_processor(folder: Path | str) -> Any:
    """Load a model's processor as TRL does, padding on the left.

    TRL always pads prompts on that side; with the other one, the types of tokens that the processor
    returns would not stand beside the tokens.
    """
    processor: Any = processors.load_processor(str(folder))
    getattr(processor, "tokenizer", processor).padding_side = "left"
    return processor


def dataset(task: Task[Any], samples: Sequence[Sample[Any]]) -> Dataset:
    """Return samples of a task as TRL reads them, in this order, with pictures as in memory."""
    prompts = {sample.id: task.prompt(sample) for sample in samples}
    pictures = {
        key: [open_image(image) for image in prompt.images] for key, prompt in prompts.items()
    }
    messages = {key: [{"role": "user", "content": prompt.text}] for key, prompt in prompts.items()}
    table = Dataset.from_list(
        [{"sample_id": sample.id, "prompt": messages[sample.id]} for sample in samples]
    )

    def with_pictures(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return batch | {"images": [pictures[key] for key in batch["sample_id"]]}

    # a column of pictures would be encoded as PNG, and decoded in every step
    return table.with_transform(with_pictures) if any(pictures.values()) else table
