"""Settings of a run that would be ignored: they are refused, as nobody gives them for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from vrft.config.coercion import changed, to_plain
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models import folders

OF_STARTED_SERVERS = (
    "arguments", "devices", "gpu_memory_utilization", "max_num_seqs", "restarts",
    "tensor_parallel_size",
)  # fmt: skip
"""The settings of ``rollout.vllm`` for servers that a run starts, not for running ones."""


def check(config: Config, *, fresh: bool = True) -> None:
    """Raise UserError for a setting that the run would not use.

    A run that is not ``fresh`` keeps the adapter that it began with, if any, may have its warm-up
    and evaluations behind it, and may have left the server that it started for a running one.
    """
    mistakes = [*evaluation_mistakes(config), *budget_mistakes(config)]
    if fresh:
        mistakes += [*adapter_mistakes(config), *warm_up_mistakes(config)]
        mistakes += [*best_mistakes(config), *server_mistakes(config)]
    if mistakes:
        raise UserError(mistakes[0])


def evaluation_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each setting of evaluations where there are none."""
    if config.eval.split:
        return
    given = {"train.eval_steps": config.train.eval_steps} if config.train.eval_steps else {}
    given |= {f"eval.{name}": value for name, value in changed(config.eval).items()}
    for path, value in given.items():
        yield (
            f"{path}={value}: without eval.split nothing is evaluated while training; give one, "
            f"such as eval.split=val, or leave {path} out"
        )


def adapter_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each setting of an adapter where none is made or trained on."""
    if config.model.lora.r or folders.is_adapter(config.model.name):
        return
    for name, value in changed(config.model.lora).items():
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


def server_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for each setting of a server where none samples, or where it was not asked."""
    vllm = config.rollout.vllm
    for name, value in changed(vllm).items():
        given = f"rollout.vllm.{name}={to_plain(value)}"
        if config.rollout.engine != "vllm":
            yield f"{given}: is for rollout.engine=vllm; set it, or leave {given} out"
        elif vllm.url and name in OF_STARTED_SERVERS:
            yield (
                f"{given}: a running server was given its own when it was started; leave it out, "
                "or give rollout.vllm.python in the place of rollout.vllm.url"
            )
