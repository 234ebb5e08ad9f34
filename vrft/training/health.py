"""The health of a run: its canaries before the first update, and its watchdogs after each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelerate.utils import gather_object

from vrft.diagnosis import alarms, canaries
from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.decoding_logps import decoding_logps
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.policy import ModelPolicy
from vrft.training import distributed
from vrft.training.stream import draw, upcoming
from vrft.training.types import Drawn, Run
from vrft.types import Rollout


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
    if distributed.max_over_ranks(accelerator, int(not drawn)):
        return
    own = alarms_of(run, drawn, *tried(run, drawn))
    every = own if accelerator.num_processes == 1 else gather_object(own)
    first = list({alarm.name: alarm for alarm in reversed(every)}.values())[::-1]
    if accelerator.is_main_process:
        alarms.append(folder, 0, first)
        for alarm in first:
            if not alarm.fatal and not settings.strict:
                print(f"warning: {alarm.name}: {alarm.text}", file=sys.stderr)
    alarms.stop(0, first, strict=settings.strict)


def forget(folder: Path) -> None:
    """Delete what an earlier attempt in the same folder, which took no step, has written there."""
    (folder / alarms.FILE).unlink(missing_ok=True)


def tried(run: Run, drawn: Sequence[Drawn]) -> tuple[list[tuple[Rollout, ...]], canaries.Measured]:
    """Return some answers to prompts, and their log-probabilities in all ways that are compared.

    All devices call this with equally many prompts.
    """
    accelerator, policy, sampling = run.accelerator, run.policy, run.config.sampling
    encoded = [one.encoded for one in drawn]
    count = min(max(run.config.algorithm.num_generations, 2), canaries.ANSWERS)
    short = replace(
        sampling, max_completion_length=min(sampling.max_completion_length, canaries.TOKENS)
    )
    decoded = None
    with accelerator.autocast():
        with distributed.gathered_weights(accelerator, policy.module):
            groups = policy.sample(encoded, count, short, [one.seed for one in drawn])
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
    encoded = [one.encoded for one in drawn]
    samples = [one.sample for one in drawn]
    views = [one.views if isinstance(one, Encoded) else () for one in encoded]
    return [
        *canaries.pictures_seen(encoded, groups, measured),
        *canaries.batch_agrees(groups, measured, limit),
        *canaries.engines_agree(groups, measured, limit),
        *canaries.answers_differ(groups, sampling.temperature),
        *canaries.answers_end(groups, sampling.max_completion_length),
        *canaries.gold_earns(run.task, samples, views),
        *canaries.gold_fits_space(run.task, samples, views),
    ]
