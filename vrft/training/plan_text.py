"""The plan of a run in words: what it will do and need, once nothing is left that would stop it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vrft import paths, policy
from vrft.config.schema import Config
from vrft.models import quantization
from vrft.objectives import algorithms, ppo
from vrft.policy import ModelPolicy
from vrft.policy.merged_weights import check_plain
from vrft.processes import distributed
from vrft.processes.same_start import check_same
from vrft.rollouts import rollout_plan
from vrft.runs.bad_pictures import BadPictures
from vrft.step_plans import memory_plan
from vrft.task import Task
from vrft.training import best, canary_trial, isolated_rewards, optimizers, plan, resume
from vrft.training.stream import encode_sample
from vrft.types import Sample


def plan_text(config: Config, run: Path | None = None) -> str:
    """Return the plan in a few lines: data, prompt, parameters, steps, memory a device.

    For a ``run`` that goes on, the settings that change follow. Raises UserError for everything
    that would stop the run at its start.
    """
    accelerator = distributed.accelerator(config.model, config.train.ddp_timeout)
    optimizers.check_launch(config.train, accelerator)
    task, samples = plan.check(config, fresh=run is None)
    tried = None
    with contextlib.ExitStack() as stack:
        stack.callback(isolated_rewards.close, task)
        check_same(accelerator, config, samples)
        name = config.model.name if run is None else resume.model_of(config, run)
        model = replace(config.model, name=name)
        actor = policy.load(model, train=True, device=accelerator.device.type)
        if config.rollout.engine == "vllm":
            check_plain(actor.loaded, by_itself=config.rollout.vllm.lora == "adapter")
        if tries_canaries(config, run):
            tried = canary_trial.try_gold_answers(config, task, samples, actor, accelerator)
    actor = ppo.with_critic(actor, config.algorithm)
    lines = facts(config, task, samples, actor, accelerator)
    if tried is not None:
        lines["canaries"] = (
            f"gold answers of the first {tried} prompt(s) tried; those that need answers of the "
            "model come before the first update of the run itself"
        )
    named = [f"{name:<10} {text}" for name, text in lines.items()]
    return "\n".join([*named, *(resume.lines(config, run) if run else [])])


def facts(
    config: Config,
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    actor: ModelPolicy,
    accelerator: Accelerator,
) -> dict[str, str]:
    """Return what a run will do and need by name, such as "steps"; the first sample is encoded."""
    limit = config.sampling.max_prompt_length
    bad_pictures = BadPictures.of(config)
    _, (_, encoded) = bad_pictures.first_readable(
        samples, attrgetter("id"), partial(encode_sample, task, actor, config)
    )
    parameters = list(actor.module.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(quantization.numel(p) for p in parameters if not p.requires_grad)
    train, algorithm, processes = config.train, config.algorithm, accelerator.num_processes
    each = ""
    if algorithm.by_reward:
        each = f" x {algorithm.num_generations} completions of at most "
        each += f"{config.sampling.max_completion_length} tokens"
    served = config.rollout.engine == "vllm"
    steps = config.total_steps(len(samples), processes)
    return {
        "task": f"{config.task.name}: {len(samples)} samples, rewards {rewards_text(config, task)}",
        "model": f"{paths.model(config.model.name)}: {trained:,} parameters trained, "
        f"{frozen:,} frozen",
        "method": f"{algorithm.name}, which holds: {', '.join(algorithms.models_held(algorithm))}",
        "prompt": f"{len(encoded.tokens)} tokens in the first sample, {encoded.image_tokens} of "
        f"them of pictures; limit {limit}",
        "step": f"{train.prompts_per_device} prompts{each}, on each of {processes} device(s)",
        **({"rollouts": rollout_plan.rollout_line(config)} if served else {}),
        "steps": f"{steps} at learning rate {train.learning_rate:g}",
        **({"evaluated": evaluation_text(config, steps)} if config.eval.split else {}),
        "memory": memory_plan.text(actor, config, accelerator),
    }


def rewards_text(config: Config, task: Task[Any]) -> str:
    """Return the rewards of a run with their weights, such as "accuracy, brief x 0.5"."""
    weights = config.algorithm.weights
    return ", ".join(
        name if weights.get(name, 1.0) == 1 else f"{name} x {weights[name]:g}"
        for name in task.rewards()
    )


def evaluation_text(config: Config, steps: int) -> str:
    """Return on which split and after which of its steps a run is evaluated."""
    train = config.train
    often = f"every {train.eval_steps} step(s) and " if 0 < train.eval_steps < steps else ""
    text = f"on eval.split={config.eval.split}, {often}after the last step"
    if train.metric_for_best_model is None:
        return text
    metric = best.full_name(train.metric_for_best_model)
    return f"{text}; the checkpoint with the best {metric} is kept"


def tries_canaries(config: Config, run: Path | None) -> bool:
    """Return whether the run begins with canaries: a resumed one, and SFT, have none."""
    return run is None and config.train.canaries and config.algorithm.by_reward
