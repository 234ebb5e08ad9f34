"""The health of a run: canaries before its first update, watchdogs and its ledger after each."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vrft import durable
from vrft.boxes import Box
from vrft.config.schema import Config
from vrft.diagnosis import alarms, canaries, coordinates, difficulty
from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.decoding_logps import decoding_logps
from vrft.diagnosis.difficulty import Attempt
from vrft.errors import UserError
from vrft.images import image_size
from vrft.models.encoding import Encoded
from vrft.objectives.types import Batch, RewardedGroup
from vrft.policy import ModelPolicy
from vrft.processes import distributed, exchange
from vrft.rewards import further_rewards, score_of
from vrft.runs.run_log import WARNINGS
from vrft.task import Task
from vrft.training.rollout_rows import Drawn
from vrft.training.run import Run
from vrft.training.stream import draw, upcoming
from vrft.types import Group, Rollout
from vrft.waiting import waiting

STATE = "diagnosis.json"
"""The file of a checkpoint with what the watchdogs remember."""

LOOKED_AT = 4
"""Groups of a device and step whose boxes are read in every frame."""


# --- canaries


def try_canaries(run: Run, folder: Path) -> None:
    """Try the first prompts of the stream with answers drawn for that alone, on all devices.

    What they show is printed and written to the run's folder as of step 0; the run itself draws
    and computes as if nothing had been tried. Raises UserError, on all devices, for what makes the
    run senseless, and with ``train.strict`` for anything.
    """
    accelerator, settings = run.accelerator, run.config.train
    drawn: list[Drawn] = []
    with contextlib.suppress(UserError):  # the first step meets the same error, in its turn
        drawn = [draw(run, place) for place in upcoming(run)[: canaries.PROMPTS]]
    if exchange.max_over_ranks(accelerator, int(not drawn)):
        return
    own = alarms_of(run, drawn, *sample_and_measure(run, drawn))
    every = exchange.gather_objects(accelerator, own)
    first = list({alarm.name: alarm for alarm in reversed(every)}.values())[::-1]
    if accelerator.is_main_process:
        alarms.append(folder, 0, first)
        alarms.warn(first, strict=settings.strict)
    alarms.stop(0, first, strict=settings.strict)


def forget(folder: Path) -> None:
    """Delete what an earlier attempt in the same folder, which took no step, has written there."""
    for name in (WARNINGS, difficulty.FILE):
        (folder / name).unlink(missing_ok=True)


def sample_and_measure(
    run: Run, drawn: Sequence[Drawn]
) -> tuple[list[tuple[Rollout, ...]], canaries.Measured]:
    """Return some answers to prompts, and their log-probabilities in all ways that are compared.

    All devices call this with equally many prompts.
    """
    accelerator, policy, sampling = run.accelerator, run.policy, run.config.sampling
    encoded = [each.encoded for each in drawn]
    count = min(max(run.config.algorithm.num_generations, 2), canaries.ANSWERS)
    short = replace(
        sampling, max_completion_length=min(sampling.max_completion_length, canaries.TOKENS)
    )
    decoded = None
    with accelerator.autocast():
        with distributed.gathered_weights(accelerator, policy.module):
            groups = policy.sample(encoded, count, short, [each.seed for each in drawn])
            # A server's log-probabilities are compared with the trainer's at every sync.
            if (
                isinstance(policy, ModelPolicy)
                and policy.loaded.shared_prefix
                and not run.rollouts.served
            ):
                decoded = decoding_logps(
                    policy.loaded,
                    encoded,
                    [[rollout.tokens for rollout in group] for group in groups],
                    sampling.temperature,
                    canaries.DECODED,
                    graphs=sampling.cuda_graphs,
                )
        with waiting():  # for the other devices, where weights are sharded
            measured = canaries.measure(policy, encoded, groups, sampling.temperature)
    return groups, replace(measured, decoded=decoded)


def alarms_of(
    run: Run,
    drawn: Sequence[Drawn],
    groups: Sequence[tuple[Rollout, ...]],
    measured: canaries.Measured,
) -> list[Alarm]:
    """Return the alarms of this device's canaries, in the order in which a step meets causes."""
    sampling = run.config.sampling
    limit = canaries.LIMITS[run.accelerator.mixed_precision == "no"]
    encoded = [each.encoded for each in drawn]
    samples = [each.sample for each in drawn]
    views = [prompt.views if isinstance(prompt, Encoded) else () for prompt in encoded]
    # Numbers that are not finite agree with nothing: the comparisons would name other causes.
    compared = canaries.logps_finite(groups, measured) or [
        *canaries.pictures_seen(encoded, groups, measured),
        *canaries.batch_agrees(groups, measured, limit),
        *canaries.engines_agree(groups, measured, limit),
    ]
    return [
        *compared,
        *canaries.answers_differ(groups, sampling.temperature),
        *canaries.answers_end(groups, sampling.max_completion_length),
        *canaries.gold_answers(run.task, samples, views),
    ]


# --- the ledger, and what watchdogs look at


def keeps_ledger(run: Run) -> bool:
    """Return whether this process has the ledger: the main one, or, for a curriculum, each."""
    return run.accelerator.is_main_process or run.config.algorithm.has_curriculum


def remember(run: Run, batch: Batch) -> None:
    """Count a step's groups of all devices in the ledger, by which a curriculum lets prompts rest.

    Those that were sampled and dropped count too.
    """
    sampled = (*batch.groups, *batch.dropped)
    own = [attempt(run.config, run.task, rewarded) for rewarded in sampled]
    every = exchange.gather_objects(run.accelerator, own)
    if keeps_ledger(run):
        run.ledger.add(every)


def observed(run: Run, batch: Batch) -> dict[str, float]:
    """Return what the watchdogs look at besides a step's other metrics.

    completions/duplicates is the share of answers that repeat another of their group, 1 where all
    are the same; coordinates/FRAME is the mean IoU of boxes in each frame, of tasks with boxes.
    """
    accelerator = run.accelerator
    repeats = torch.tensor([repeated(rewarded.group) for rewarded in batch.groups])
    measured = {
        "completions/duplicates": float(exchange.gather(accelerator, repeats).mean()),
    }
    sums = exchange.gather(accelerator, frame_sums(run.task, batch)[None]).sum(0).tolist()
    if sums[0]:
        for name, total in zip(coordinates.NAMES, sums[1:], strict=True):
            measured[coordinates.METRIC + name] = total / sums[0]
    return measured


def attempt(config: Config, task: Task[Any], rewarded: RewardedGroup) -> Attempt:
    """Return a group as the ledger counts it.

    An answer is of full reward where every reward of the task itself that applies, and has a
    weight, is at least 1.
    """
    further, weights = further_rewards(task), config.algorithm.weights
    names = [n for n in rewarded.rewards if n not in further and weights.get(n, 1.0) > 0]
    columns = [rewarded.rewards[name] for name in names]
    given = [[v for v in values if v is not None] for values in zip(*columns, strict=True)]
    full = sum(bool(values) and min(values) >= difficulty.FULL for values in given)
    rollouts = rewarded.group.rollouts
    tokens = sum(len(rollout.tokens) for rollout in rollouts)
    reward = float(rewarded.total.sum())
    sample_id = rewarded.group.sample.id
    return Attempt(sample_id, len(rollouts), reward, full, tokens, rewarded.has_signal)


def repeated(group: Group[Any]) -> float:
    """Return the share in [0, 1] of a group's answers that repeat another: 1 if all are alike."""
    size = len(group.rollouts)
    distinct = len({rollout.tokens for rollout in group.rollouts})
    return (size - distinct) / (size - 1) if size > 1 else 0.0


def frame_sums(task: Task[Any], batch: Batch) -> Tensor:
    """Return [1 + frames]: how many boxes of this device were looked at, and sums of their IoU."""
    sums = torch.zeros(1 + len(coordinates.NAMES))
    looked_at = [r.group for r in batch.groups if len(r.group.rollouts[0].completion.views) == 1]
    for group in looked_at[:LOOKED_AT]:
        truth = task.boxes(group.sample)
        if len(truth) != 1:
            continue
        size = image_size(group.prompt.images[0])
        for rollout in group.rollouts:
            parsed = score_of(task, group.sample, rollout.completion).parsed
            corners = parsed if isinstance(parsed, list | tuple) and len(parsed) == 4 else None
            read = None if corners is None else Box(*corners)
            text, view = rollout.completion.text, rollout.completion.views[0]
            overlaps = coordinates.overlaps(text, truth[0], view, read, size)
            sums += torch.tensor([1.0, *overlaps])
    return sums


# --- watchdogs


def new_alarms(run: Run, metrics: dict[str, float]) -> list[Alarm]:
    """Show the watchdogs the metrics of a step, add what they count, and return their new alarms.

    Only the main process watches; the others return none.
    """
    if not run.accelerator.is_main_process:
        return []
    fresh = run.watch.after(metrics)
    metrics |= run.watch.metrics()
    return fresh


def report(run: Run, folder: Path, fresh: Sequence[Alarm]) -> None:
    """Print a step's new alarms and write them to the run's folder.

    Raises UserError, on all devices, where ``train.strict`` makes errors of them.
    """
    step, strict = run.progress.step, run.config.train.strict
    if run.accelerator.is_main_process:
        alarms.append(folder, step, fresh)
        for alarm in fresh:
            if not strict:
                print(f"warning: step {step}: {alarm.name}: {alarm.text}", file=sys.stderr)
    if strict:
        alarms.stop(step, exchange.from_main(run.accelerator, list(fresh)), strict=True)


# --- checkpoints


def write(run: Run, checkpoint: Path) -> None:
    """Write what ledger and watchdogs remember; only the main process calls this."""
    run.ledger.write(checkpoint / difficulty.FILE)
    (checkpoint / STATE).write_text(json.dumps(run.watch.state()) + "\n", encoding="utf-8")


def publish(folder: Path, checkpoint: Path | None) -> None:
    """Copy a checkpoint's ledger to the run's folder, where it is looked for, if there is one."""
    if checkpoint is None or not (checkpoint / difficulty.FILE).is_file():
        return
    temporary = folder / f".{difficulty.FILE}"
    shutil.copyfile(checkpoint / difficulty.FILE, temporary)
    durable.sync(temporary)
    durable.replace(temporary, folder / difficulty.FILE)


def restore(run: Run, checkpoint: Path) -> None:
    """Take over what ledger and watchdogs remembered at a checkpoint.

    One that an earlier version saved has neither: both begin anew, and a line says so.
    """
    main = run.accelerator.is_main_process
    if keeps_ledger(run) and not main and (checkpoint / STATE).is_file():
        run.ledger.restore(checkpoint / difficulty.FILE)
    if not main:
        return
    if not (checkpoint / STATE).is_file():
        print(f"note: {checkpoint} has no {STATE}: warnings and {difficulty.FILE} begin anew",
              file=sys.stderr)  # fmt: skip
        return
    run.ledger.restore(checkpoint / difficulty.FILE)
    try:
        run.watch.restore(json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{checkpoint / STATE}: not what watchdogs remember ({error})") from error
