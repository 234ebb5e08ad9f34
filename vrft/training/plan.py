"""The plan of a run: what stops it before its first step, and what it will do and need.

``--dry-run`` and the run itself call the same ``check``, so that both refuse the same things, and
take the number of steps from the same function.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from vrft import folder_lock, launched, paths, policy, registry
from vrft.boxes import THOUSANDTHS
from vrft.checks import memory_plan
from vrft.config.methods import reward_source
from vrft.config.schema import Config
from vrft.errors import PictureError, UserError
from vrft.evaluation.scoring import read_samples, try_metrics
from vrft.models import quantization
from vrft.models.conversation import check_answer, check_prompt
from vrft.objectives import algorithm_plan, algorithms, ppo
from vrft.processes import distributed
from vrft.processes.peers import check_same
from vrft.progress import with_progress
from vrft.rewards import FunctionReward, rewards_and_missing
from vrft.rewards.isolation import WorkerReward
from vrft.runs import run_folder, run_log, unused_settings
from vrft.runs.bad_pictures import BadPictures, refusal
from vrft.task import Task
from vrft.training import (
    best,
    gold_trial,
    optimizers,
    resume,
    reward_workers,
    rollout_plan,
)
from vrft.training.stream import encode_sample
from vrft.types import Completion, Sample


def check(config: Config, *, fresh: bool = True) -> tuple[Task[Any], Sequence[Sample[Any]]]:
    """Return the task and its training samples, once nothing is left that would stop the run.

    Nothing is written. Raises UserError for a task, data or settings with which the run cannot
    start, for a ``fresh`` run also for a folder that holds another, and for a resumed one for data
    and settings that are not those of the run.
    """
    folder_lock.check(Path(config.train.output_dir or run_folder.UNNAMED))
    if not fresh:
        resume.check_settings(config, Path(config.train.output_dir))
    task = registry.build_rewarded(config.task, config.algorithm)
    check_settings(config, task.rewards())
    quantization.check_training(config)
    quantization.check_launch(config.model, sharded=launched.shards())
    rollout_plan.check(config)
    optimizers.check(config.train)
    run_log.check_trackers(config.train.report_to)
    skip = config.data.on_bad_picture == "skip"
    samples = read_samples(task, "train")
    check_prompts(task, samples, "train", skip=skip)
    if config.algorithm.by_reward:
        task = reward_workers.isolated(config, task, samples[0])
        try_rewards(task, samples)
    asked: Sequence[Sample[Any]] = ()
    if config.eval.split:
        # The first evaluation may be hours away: better to learn of a missing split now.
        asked = read_samples(task, config.eval.split, config.eval.limit)
        check_prompts(task, asked, config.eval.split, skip=skip)
        with contextlib.suppress(PictureError):  # of a sample that may be skipped
            try_metrics(task, asked[0], task.prompt(asked[0]))
        note_trained_on(samples, asked, config.eval.split)
    best.check(config, task, asked)
    unused_settings.check(config, fresh=fresh)
    steps = total_steps(config, len(samples), launched.processes())
    if fresh:
        note_late_evaluation(config, steps)
        run_folder.check_free(config)
    else:
        resume.check_run(config, samples, steps, launched.processes())
    return task, samples


def check_prompts(
    task: Task[Any], samples: Sequence[Sample[Any]], split: str, *, skip: bool = False
) -> None:
    """Raise UserError that names the sample for a prompt or answer that no model of ours can read.

    The run would meet it only in some later step. A prompt that cannot be made for want of its
    picture passes where the run may ``skip`` its sample. Shows progress where it lasts.
    """
    shown = f"prompts of {split!r}"
    # All processes of a launch check the same prompts.
    for sample in with_progress(samples, shown) if launched.speaks() else samples:
        try:
            check_prompt(task.prompt(sample))
            # Of the words around its numbers alone, which do not depend on what a model sees.
            check_answer(task.reference(sample, (THOUSANDTHS,) * len(sample.images)))
        except PictureError as error:
            if not skip:
                raise refusal(sample.id, error) from error
        except UserError as error:
            raise UserError(f"sample {sample.id!r}: {error}") from error


def note_trained_on(
    samples: Sequence[Sample[Any]], asked: Sequence[Sample[Any]], split: str
) -> None:
    """Say how many samples of an evaluation are trained on: a single file is read for any split."""
    trained = {sample.id: (sample.question, sample.images) for sample in samples}
    same = sum(trained.get(sample.id) == (sample.question, sample.images) for sample in asked)
    if same and launched.speaks():
        print(
            f"note: {same} of the {len(asked)} samples of eval.split={split} are trained on, and "
            "their scores, and a best checkpoint by them, say nothing of other questions; give a "
            f"folder with train.jsonl and {split}.jsonl",
            file=sys.stderr,
        )


def note_late_evaluation(config: Config, steps: int) -> None:
    """Say that the best checkpoint is the last one where none before it is evaluated."""
    train = config.train
    if train.metric_for_best_model is not None and train.eval_steps >= steps and launched.speaks():
        print(
            f"note: train.eval_steps={train.eval_steps}: the run has {steps} step(s), of which the "
            "last alone is evaluated, and is the best whatever it scores; set fewer",
            file=sys.stderr,
        )


def check_settings(config: Config, rewards: Mapping[str, Any]) -> None:
    """Raise UserError for settings under which nothing can be learnt from the task's rewards."""
    algorithm, train = config.algorithm, config.train
    if not algorithm.by_reward:
        if algorithm.rewards:
            raise UserError("algorithm=sft learns from reference answers; leave --reward out")
        if config.model.dtype == "float16":
            raise UserError(
                "model.dtype=float16: algorithm=sft computes in bfloat16 or float32; set one of "
                "them, or auto"
            )
        if launched.shards():
            raise UserError(
                f"algorithm=sft holds all weights in every process, and {launched.engine()} would "
                "shard them; start it by torchrun, or with configs/accelerate/ddp.yaml"
            )
        algorithm_plan.check_sft(algorithm)
        return
    if config.sampling.temperature == 0:
        raise UserError("sampling.temperature=0 makes all answers of a group alike; train at 1.0")
    baseline = algorithms.BASELINES[algorithm.baseline]
    algorithm_plan.check(config)
    if algorithm.num_generations < 2 and baseline.needs_siblings:
        raise UserError(
            f"algorithm.num_generations=1: {algorithm.name} compares the answers to one prompt; "
            "give at least 2"
        )
    if algorithm.num_mini_batches > train.prompts_per_device:
        raise UserError(
            f"algorithm.num_mini_batches={algorithm.num_mini_batches}: a device has fewer prompts "
            f"in a step ({train.prompts_per_device}); raise train.per_device_train_batch_size"
        )
    for name in algorithm.reward_weights:
        if name not in rewards:
            raise UserError(
                f"algorithm.reward_weights.{name}: the task has no such reward; "
                f"{paths.suggest(name, list(rewards))}"
            )
    for source in map(reward_source, algorithm.rewards):
        weight = algorithm.weights[source.name]
        if source.weight not in (1.0, weight):
            raise UserError(
                f"algorithm.reward_weights.{source.name}={weight:g}, but --reward gives it the "
                f"weight {source.weight:g}; keep one of them"
            )


def try_rewards(task: Task[Any], samples: Sequence[Sample[Any]]) -> None:
    """Raise UserError for rewards that the first step could not use.

    An empty answer, which a model may give at any time, is tried on the first sample; rewards that
    read columns are shown every sample. Notes rewards that count as None by missing_rewards.
    """
    for reward in task.rewards().values():
        if isinstance(reward, FunctionReward | WorkerReward):
            for sample in samples:
                reward.check(sample)
    _, missing = rewards_and_missing(task, samples[0], Completion(""))
    if missing and launched.speaks():
        print(
            f"note: {', '.join(missing)} gives no finite number for an empty answer, and counts as "
            "None (algorithm.missing_rewards=none); the metric rewards/NAME/missing is its share",
            file=sys.stderr,
        )


def rewards_text(config: Config, task: Task[Any]) -> str:
    """Return the rewards of a run with their weights, such as "accuracy, brief x 0.5"."""
    weights = config.algorithm.weights
    return ", ".join(
        name if weights.get(name, 1.0) == 1 else f"{name} x {weights[name]:g}"
        for name in task.rewards()
    )


def total_steps(config: Config, samples: int, processes: int) -> int:
    """Return ``max_steps``, or the steps that ``num_train_epochs`` passes over the samples take."""
    train = config.train
    if train.max_steps >= 0:
        return train.max_steps
    prompts = train.prompts_per_device * processes
    if not config.algorithm.by_reward:
        # A step of transformers' trainer does not cross from one epoch into the next.
        return math.ceil(train.num_train_epochs * math.ceil(samples / prompts))
    return math.ceil(train.num_train_epochs * samples / prompts)


def plan_text(config: Config, run: Path | None = None) -> str:
    """Return the plan in a few lines: data, prompt, parameters, steps, memory a device.

    For a ``run`` that goes on, the settings that change follow. Raises UserError for everything
    that would stop the run at its start.
    """
    accelerator = distributed.accelerator(config.model, config.train.ddp_timeout)
    optimizers.check_launch(config.train, accelerator)
    task, samples = check(config, fresh=run is None)
    with contextlib.ExitStack() as stack:
        stack.callback(reward_workers.close, task)
        check_same(accelerator, config, samples)
        name = config.model.name if run is None else resume.model_of(config, run)
        model = replace(config.model, name=name)
        actor = policy.load(model, train=True, device=accelerator.device.type)
        canary_line = {}
        if tries_canaries(config, run):
            tried = gold_trial.try_gold_answers(config, task, samples, actor, accelerator)
            canary_line["canaries"] = (
                f"gold answers of the first {tried} prompt(s) tried; those that need answers of "
                "the model come before the first update of the run itself"
            )
    actor = ppo.with_critic(actor, config.algorithm)
    limit = config.sampling.max_prompt_length
    bad_pictures = BadPictures(skip=config.data.on_bad_picture == "skip")
    _, (_, encoded) = bad_pictures.first_readable(
        samples, attrgetter("id"), partial(encode_sample, task, actor, config)
    )
    parameters = list(actor.module.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(quantization.numel(p) for p in parameters if not p.requires_grad)
    train, algorithm, processes = config.train, config.algorithm, accelerator.num_processes
    prompts = train.prompts_per_device
    each = ""
    if algorithm.by_reward:
        each = f" x {algorithm.num_generations} completions of at most "
        each += f"{config.sampling.max_completion_length} tokens"
    served = config.rollout.engine == "vllm"
    steps = total_steps(config, len(samples), processes)
    lines = {
        "task": f"{config.task.name}: {len(samples)} samples, rewards {rewards_text(config, task)}",
        "model": f"{paths.model(config.model.name)}: {trained:,} parameters trained, "
        f"{frozen:,} frozen",
        "method": f"{algorithm.name}, which holds: {', '.join(algorithms.models_held(algorithm))}",
        "prompt": f"{len(encoded.tokens)} tokens in the first sample, {encoded.image_tokens} of "
        f"them of pictures; limit {limit}",
        "step": f"{prompts} prompts{each}, on each of {processes} device(s)",
        **({"rollouts": rollout_plan.plan_text(config)} if served else {}),
        "steps": f"{steps} at learning rate {train.learning_rate:g}",
        **({"evaluated": evaluation_text(config, steps)} if config.eval.split else {}),
        "memory": memory_plan.text(actor, config, accelerator),
        **canary_line,
    }
    facts = [f"{name:<10} {text}" for name, text in lines.items()]
    return "\n".join([*facts, *(resume.lines(config, run) if run else [])])


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
