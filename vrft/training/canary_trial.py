"""The trial of the canaries before a run's first update, and of those that a dry run can ask."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vrft.config.schema import Config
from vrft.diagnosis import alarms, canaries
from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.decoding_logps import decoding_logps
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.policy import ModelPolicy, Policy
from vrft.processes import distributed, exchange
from vrft.rollouts.rollout_rows import Drawn
from vrft.runs.bad_pictures import BadPictures
from vrft.system.waiting import waiting
from vrft.task import Task
from vrft.training.run import Run
from vrft.training.stream import block_of, draw, encode_sample, samples_from, upcoming
from vrft.types import Rollout, Sample


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


def try_gold_answers(
    config: Config,
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    policy: Policy,
    accelerator: Accelerator,
) -> int:
    """Try the gold answers of the prompts that a run's canaries would try; return how many.

    Warnings are printed. Raises UserError for what would end the run before its first update, and
    for a prompt that its first step could not read.
    """
    train = config.train
    block = block_of(accelerator.process_index, train.prompts_per_device)
    bad_pictures = BadPictures.of(config)
    read = partial(encode_sample, task, policy, config)
    chosen, views = [], []
    for place in range(block.start, block.stop)[: canaries.PROMPTS]:
        coming = samples_from(samples, train.seed, place)
        sample, (_, encoded) = bad_pictures.first_readable(coming, attrgetter("id"), read)
        chosen.append(sample)
        views.append(encoded.views if isinstance(encoded, Encoded) else ())
    raised = canaries.gold_answers(task, chosen, views)
    if accelerator.is_main_process:
        alarms.warn(raised, strict=train.strict)
    alarms.stop(0, raised, strict=train.strict)
    return len(chosen)
