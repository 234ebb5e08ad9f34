"""Settings of a run that would be ignored: they are refused, as nobody gives them for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vrft.config.coercion import to_plain
from vrft.config.schema import Config, EvalConfig, LoraConfig
from vrft.errors import UserError
from vrft.models import folders


def check(config: Config, *, fresh: bool = True) -> None:
    """Raise UserError for a setting that the run would not use.

    A run that is not ``fresh`` keeps the adapter that it began with, if any, and may have its
    warm-up and evaluations behind it.
    """
    mistakes = [*evaluation_mistakes(config), *budget_mistakes(config)]
    if fresh:
        mistakes += [*adapter_mistakes(config), *warm_up_mistakes(config)]
        mistakes += best_mistakes(config)
    if mistakes:
        raise UserError(mistakes[0])


def evaluation_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each setting of evaluations where there are none."""
    if config.eval.split:
        return
    given = {"train.eval_steps": config.train.eval_steps} if config.train.eval_steps else {}
    given |= {f"eval.{name}": value for name, value in chosen(config.eval, EvalConfig()).items()}
    for path, value in given.items():
        yield (
            f"{path}={value}: without eval.split nothing is evaluated while training; give one, "
            f"such as eval.split=val, or leave {path} out"
        )


def adapter_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each setting of an adapter where none is made or trained on."""
    if config.model.lora.r or folders.is_adapter(config.model.name):
        return
    for name, value in chosen(config.model.lora, LoraConfig()).items():
        yield (
            f"model.lora.{name}={to_plain(value)}: without model.lora.r there is no adapter, and "
            "all weights are trained; set model.lora.r, such as 8, or leave it out"
        )


def budget_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for a budget of tokens where lessons pass by their number."""
    budget = config.train.max_tokens_per_micro_batch
    if budget and not config.algorithm.by_reward:
        yield (
            f"train.max_tokens_per_micro_batch={budget}: algorithm=sft passes "
            "train.per_device_train_batch_size lessons at once, however long; leave it out"
        )


def warm_up_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for a warm-up under the schedule that has none."""
    if config.train.warmup_ratio and config.train.lr_scheduler_type == "constant":
        yield (
            f"train.warmup_ratio={config.train.warmup_ratio:g}: a constant rate has no warm-up; "
            "set train.lr_scheduler_type=constant_with_warmup, or train.warmup_ratio=0"
        )


def best_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for the best checkpoint of a run that evaluates its last step alone."""
    metric = config.train.metric_for_best_model
    if metric is not None and config.train.eval_steps == 0:
        yield (
            f"train.metric_for_best_model={metric}: with train.eval_steps=0 the last step alone is "
            "evaluated, and is always the best; set train.eval_steps, such as 50, or leave "
            "train.metric_for_best_model out"
        )


def chosen(settings: Any, default: Any) -> dict[str, Any]:
    """Return the settings of a section that have another value than by default."""
    pairs = {f.name: (getattr(settings, f.name), getattr(default, f.name)) for f in fields(default)}
    return {name: value for name, (value, usual) in pairs.items() if value != usual}
