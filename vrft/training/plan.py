"""The check of a run: what stops it before its first step.

``--dry-run`` and the run itself call the same ``check``, so that both refuse the same things.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft import launched, paths, registry
from vrft.boxes import THOUSANDTHS
from vrft.config.reward_source import reward_source
from vrft.config.schema import Config
from vrft.errors import PictureError, UserError
from vrft.evaluation.scoring import read_samples, try_metrics
from vrft.models import quantization
from vrft.models.conversation import check_answer, check_prompt
from vrft.objectives import algorithm_plan, algorithms
from vrft.progress import with_progress
from vrft.reward_workers.isolation import WorkerReward
from vrft.rewards import FunctionReward, rewards_and_missing
from vrft.rollouts import rollout_plan
from vrft.runs import run_folder, trackers, unused_settings
from vrft.runs.bad_pictures import refusal
from vrft.system import folder_lock
from vrft.task import Task
from vrft.training import best, isolated_rewards, optimizers, resume
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
    trackers.check_trackers(config.train.report_to)
    skip = config.data.on_bad_picture == "skip"
    samples = read_samples(task, "train")
    check_prompts(task, samples, "train", skip=skip)
    if config.algorithm.by_reward:
        task = isolated_rewards.isolated(config, task, samples[0])
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
    steps = config.total_steps(len(samples), launched.processes())
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
