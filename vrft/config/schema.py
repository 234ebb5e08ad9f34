"""Settings: frozen dataclasses are schema, defaults and documentation at once.

Order, later wins: the defaults here, the row of the algorithm (``vrft.methods``), the file that
``extends`` names, the YAML file, then ``key.path=value`` from the command line. A scalar given to a
section sets its ``name``: ``model=Qwen/Qwen2-VL-2B-Instruct`` is ``model.name=...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vrft.config.coercion import Above0, Amount, Count, Fraction, Range, Size
from vrft.config.methods import AlgorithmConfig


@dataclass(frozen=True)
class TaskConfig:
    """Which task, and the task's own settings (the fields of its dataclass)."""

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters through peft; ``r`` = 0 trains the full weights."""

    r: Size = 0
    lora_alpha: Count = 32
    lora_dropout: Fraction = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class ModelConfig:
    """The model: a hub id, a folder, or ``demo`` for the embedded one."""

    name: str = "Qwen/Qwen2-VL-2B-Instruct"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: Literal["sdpa", "eager"] = "sdpa"
    min_pixels: Count | None = None
    """Smallest picture area in pixels; None keeps what the checkpoint says."""
    max_pixels: Count | None = None
    """Largest picture area in pixels (28 * 28 of them make one image token)."""
    picture_cache_mib: Size = 1024
    """Memory for pictures as the processor made them, and as much again for what a vision tower
    that is not trained made of them: what was used last is not made twice."""
    shared_prefix: bool = True
    """False: each completion passes the model with its own copy of the prompt and its pictures, by
    plain transformers. It is several times slower, and only for comparison."""
    freeze_vision_tower: bool = False
    freeze_language_model: bool = False
    gradient_checkpointing: bool = False
    lora: LoraConfig = LoraConfig()


@dataclass(frozen=True)
class SamplingConfig:
    """How completions are drawn. Always explicit: a checkpoint's own defaults are never used."""

    temperature: Amount = 1.0
    top_p: Annotated[float, Range(0, 1, open=True)] = 1.0
    top_k: Size = 0
    repetition_penalty: Above0 = 1.0
    max_completion_length: Count = 256
    max_prompt_length: Count | None = 4096
    """A longer prompt, image tokens included, is an error: it is never cut. None: no limit."""
    cuda_graphs: bool = True
    """Decode by replaying CUDA graphs. Of no effect on a CPU, and where weights are shared out."""


@dataclass(frozen=True)
class TrainConfig:
    """The loop; names and defaults are those of transformers' and TRL's trainers."""

    output_dir: str = ""
    """Folder of the run; empty: runs/<task>-<date>-<time>."""
    max_steps: Annotated[int, Range(-1)] = -1
    """Optimizer steps; -1: as many as ``num_train_epochs`` need."""
    num_train_epochs: Above0 = 1.0
    per_device_train_batch_size: Count = 1
    """Prompts (whole groups) that one device holds at a time."""
    gradient_accumulation_steps: Count = 1
    max_tokens_per_micro_batch: Size = 0
    """Groups pass the model together up to so many tokens, a prompt counted once for its group;
    0: ``per_device_train_batch_size`` groups, whatever their size. The update is the same."""
    learning_rate: Amount = 1e-6
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_ratio: Fraction = 0.0
    weight_decay: Amount = 0.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    adam_epsilon: Amount = 1e-8
    max_grad_norm: Amount = 1.0
    seed: Annotated[int, Range(0, 2**32 - 1)] = 42
    dataloader_num_workers: Size = 2
    """Threads that read the next step's prompts and pictures meanwhile; 0: each when it is due."""
    eval_steps: Size = 0
    """Evaluate every n steps; 0: only at the end, and only if ``eval.split`` is set."""
    save_steps: Size = 100
    save_total_limit: Count | None = 2
    logging_steps: Count = 1
    log_completions: bool = True
    report_to: tuple[str, ...] = ()
    """Trackers that get the metrics, by accelerate's names: tensorboard, wandb, mlflow, swanlab,
    trackio, comet_ml, aim, clearml, dvclive. Empty, or ``none``: only the run folder."""


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training, greedy, on a split of the training task."""

    split: str = ""
    limit: Count | None = None
    batch_size: Count = 8


@dataclass(frozen=True)
class Config:
    """Everything a training run depends on; written to the run folder as config.yaml."""

    task: TaskConfig = TaskConfig()
    model: ModelConfig = ModelConfig()
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    sampling: SamplingConfig = SamplingConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
