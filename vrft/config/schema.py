"""Settings: frozen dataclasses are schema, defaults and documentation at once.

Order, later wins: the defaults here, the row of the algorithm (``vrft.methods``), the file that
``extends`` names, the YAML file, then ``key.path=value`` from the command line. A scalar given to a
section sets its ``name``: ``model=Qwen/Qwen2-VL-2B-Instruct`` is ``model.name=...``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from vrft import paths
from vrft.config import coercion, methods
from vrft.config.methods import AlgorithmConfig
from vrft.config.ranges import Above0, Amount, Count, Range, Share, Size
from vrft.errors import UserError


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
    lora_dropout: Share = 0.0
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
    warmup_ratio: Share = 0.0
    weight_decay: Amount = 0.0
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
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
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ()


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


def load(source: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """The configuration from a YAML file or shipped name, then ``key.path=value`` overrides.

    Raises UserError that names the setting and its nearest known name or its expected type.
    """
    tree: dict[str, Any] = {}
    if source is not None:
        tree = read(paths.find("configs", source))
    given: dict[str, Any] = {}
    for override in overrides:
        given = merge(given, parse_override(override))
    tree = lay_over(tree, given)
    algorithm = tree.get("algorithm")
    if isinstance(algorithm, Mapping):
        row = methods.settings(str(algorithm.get("name", AlgorithmConfig.name)))
        tree["algorithm"] = merge(row, algorithm)
    return coercion.build(Config, tree)


def lay_over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``merge``, except that settings of one algorithm are not passed on to another.

    What is no matter of the algorithm stays: see ``methods.COMMON``.
    """
    old, new = low.get("algorithm"), high.get("algorithm")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = old.get("name", AlgorithmConfig.name)
        if new.get("name", name) != name:
            kept = {key: value for key, value in old.items() if key in methods.COMMON}
            low = {**low, "algorithm": kept}
    return merge(low, high)


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, laid over the one that its ``extends`` names.

    ``extends`` is a shipped name, or a path relative to the file.
    """
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself; remove one of the `extends` lines")
    tree = read_yaml(path)
    parent = tree.pop("extends", None)
    if parent is None:
        return expand(tree)
    relative = path.parent / str(parent)
    parent_path = relative if relative.is_file() else paths.find("configs", str(parent))
    return lay_over(read(parent_path, (*seen, path.resolve())), expand(tree))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in one YAML file; UserError for a file that is none."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tree, dict | None):
        raise UserError(f"{path}: expected `key: value` lines, got {type(tree).__name__}")
    return tree or {}


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as a nested mapping; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{text!r}: settings are given as key.path=value")
    try:
        tree: Any = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise UserError(f"{text!r}: the value is not readable YAML; quote it") from error
    for part in reversed(key.strip().split(".")):
        tree = {part: tree}
    return expand(tree)


def expand(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A scalar for a whole section becomes its name; a task's settings move under ``settings``.

    ``data.columns.image=img`` is short for ``task.columns.image=img``.
    """
    tree = dict(tree)
    for section in ("task", "model", "algorithm"):
        if isinstance(tree.get(section), str):
            tree[section] = {"name": tree[section]}
    if isinstance(tree.get("data"), Mapping):
        tree = merge({"task": tree.pop("data")}, tree)
    task = tree.get("task")
    if isinstance(task, Mapping) and isinstance(task.get("settings"), Mapping | None):
        own = {k: v for k, v in task.items() if k not in ("name", "settings")}
        name = {"name": task["name"]} if "name" in task else {}
        tree["task"] = name | {"settings": {**(task.get("settings") or {}), **own}}
    return tree


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``high`` laid over ``low``, mapping by mapping."""
    out = dict(low)
    for key, value in high.items():
        old = out.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        out[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return out


def to_yaml(config: Config) -> str:
    """The configuration as YAML that ``load`` reads back to an equal one."""
    return yaml.safe_dump(coercion.plain(config), sort_keys=False, allow_unicode=True)
