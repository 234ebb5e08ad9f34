"""From samples to a batch: rollouts of a policy, rewarded by the task, every value checked."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.objectives import algorithms
from vrft.objectives.types import Batch, RewardedGroup
from vrft.processes import exchange
from vrft.rewards import LARGEST, TrainerState, group_rewards
from vrft.rollouts.rollout_rows import Drawn, Sampled
from vrft.task import Task
from vrft.training import metrics
from vrft.training.run import Run
from vrft.training.stream import move_on, next_prompts
from vrft.types import Group, Rollout


def collect(run: Run) -> Batch:
    """Return the step's groups: sampled, rewarded, and resampled while too few have signal.

    Groups with signal are held on to, oldest first, and the batch is filled up with the newest
    groups without; alpha and every metric are those of the groups in the batch. They stand in the
    order in which they were drawn, so that mini-batches share the signal. Raises UserError
    where ``max_resample_rounds`` are not enough and ``on_exhausted`` is "error", and, on all
    devices together, for a prompt or a reward of any of them that cannot be used.
    """
    config, size = run.config.algorithm, run.config.train.prompts_per_device
    groups: list[RewardedGroup] = []
    dropped: list[RewardedGroup] = []
    for rounds in range(1, config.max_resample_rounds + 2):
        fresh: list[RewardedGroup] = []
        mistake: UserError | None = None
        try:
            fresh = rewarded_groups(run)
        except UserError as error:
            mistake = error
        drawn = groups + fresh
        informative = [rewarded for rewarded in drawn if rewarded.has_signal]
        without_signal = [rewarded for rewarded in fresh + groups if not rewarded.has_signal]
        kept = {id(rewarded) for rewarded in (informative + without_signal)[:size]}
        groups = [rewarded for rewarded in drawn if id(rewarded) in kept]
        dropped += [
            replace(rewarded, encoded=None) for rewarded in drawn if id(rewarded) not in kept
        ]
        # Counted over all devices, so that all of them stop after the same round: one that went
        # on alone would wait for the others in its next exchange.
        own = [sum(rewarded.has_signal for rewarded in groups), size, mistake is not None]
        counts = exchange.gather(run.accelerator, torch.tensor([own])).sum(0)
        with_signal, total, mistakes = counts.tolist()
        if mistakes:
            raise UserError(f"step {run.progress.step + 1}: {first(run.accelerator, mistake)}")
        # 0.55 * 100 is a hair above 55, 55 / 100 is 0.55
        if with_signal / total >= config.min_informative:
            return Batch.of(groups, rounds, dropped=dropped)
    if config.on_exhausted == "error":
        raise UserError(
            f"after {rounds} rounds of sampling {with_signal} of {total} groups have signal, fewer "
            f"than algorithm.min_informative={config.min_informative}; lower it, or set "
            "algorithm.on_exhausted=train"
        )
    return Batch.of(groups, rounds, exhausted=True, dropped=dropped)


def first(accelerator: Accelerator, mistake: UserError | None) -> str:
    """Return the first mistake of all devices, of which at least one has made one."""
    lines = exchange.gather_objects(accelerator, [str(mistake or "")])
    return next(line for line in lines if line)


def rewarded_groups(run: Run) -> list[RewardedGroup]:
    """Sample G rollouts of each of this device's next prompts, and reward them.

    Raises UserError as ``reward_group`` does, for a prompt that cannot be encoded, and for a server
    that cannot sample.
    """
    drawn: Sequence[Drawn] = ()
    mistake: UserError | None = None
    try:
        drawn = drawn_prompts(run)
    except UserError as error:
        mistake = error
    sampled = run.rollouts.sample(drawn)  # on all devices, also on one whose prompts cannot be read
    if mistake is not None:
        raise mistake
    state = trainer_state(run)
    groups = [
        reward_group(run.config, run.task, group_of(draw, rollouts.rollouts), draw.encoded, state)
        for draw, rollouts in zip(drawn, sampled, strict=True)
    ]
    return with_greedy(run, groups, drawn, sampled, state)


def drawn_prompts(run: Run) -> Sequence[Drawn]:
    """Return the prompts of which rollouts are under way, else the next ones of the stream."""
    flight = run.rollouts.in_flight
    if flight is None:
        return next_prompts(run)
    move_on(run)
    return flight.drawn


def group_of(draw: Drawn, rollouts: tuple[Rollout, ...]) -> Group[Any]:
    """Return a prompt's rollouts as a group."""
    return Group(draw.sample, draw.prompt, rollouts)


def with_greedy(
    run: Run,
    groups: list[RewardedGroup],
    drawn: Sequence[Drawn],
    sampled: Sequence[Sampled],
    state: TrainerState,
) -> list[RewardedGroup]:
    """Return the groups with the totals of their greedy completions, where these were sampled."""
    if not algorithms.BASELINES[run.config.algorithm.baseline].needs_greedy:
        return groups
    greedy = [
        reward_group(run.config, run.task, group_of(draw, rollouts.greedy), draw.encoded, state)
        for draw, rollouts in zip(drawn, sampled, strict=True)
    ]
    return [with_greedy_total(run.config, *pair) for pair in zip(groups, greedy, strict=True)]


def with_greedy_total(
    config: Config, rewarded: RewardedGroup, greedy: RewardedGroup
) -> RewardedGroup:
    """Return a group with the total of its greedy completion, and the signal that follows.

    A reward that one of them has lost counts for neither: it would push all completions one way.
    """
    lost = rewarded.lost | greedy.lost
    total_G, greedy_1 = (
        weighted_sum(config, given.group, given.rewards, lost) for given in (rewarded, greedy)
    )
    baseline = algorithms.BASELINES[config.algorithm.baseline]
    signal = baseline.signal(total_G.unsqueeze(0), greedy_1, torch.tensor([bool(lost)]))
    return replace(
        rewarded, total=total_G, greedy=float(greedy_1), lost=lost, has_signal=bool(signal)
    )


def trainer_state(run: Run) -> TrainerState:
    """Return the progress of the run as reward functions of TRL read it."""
    settings, done, accelerator = run.config.train, run.progress, run.accelerator
    return TrainerState(
        global_step=done.step,
        max_steps=run.total_steps,
        epoch=done.cursor / len(run.samples),
        num_train_epochs=settings.num_train_epochs,
        num_input_tokens_seen=done.num_tokens,
        is_local_process_zero=accelerator.is_local_main_process,
        is_world_process_zero=accelerator.is_main_process,
    )


def reward_group(
    config: Config,
    task: Task[Any],
    group: Group[Any],
    encoded: Any,
    state: TrainerState | None = None,
) -> RewardedGroup:
    """Return a group with its rewards and their weighted sum.

    Where the baseline needs a greedy completion, ``has_signal`` stays False until
    ``with_greedy_total`` knows it. Raises UserError that names sample and reward for a value that
    is no finite number, and for a logged column that bears the name of one of the log's own.
    """
    given = group_rewards(task, group, state, config.algorithm.missing_rewards)
    metrics.check_columns(given.log)
    for line in given.notes:
        print(
            f"note: {line}; it counts as missing in such groups (rewards/NAME/missing)",
            file=sys.stderr,
        )
    rewards, lost = given.values, frozenset(given.lost)
    total_G = weighted_sum(config, group, rewards, lost)
    normalised_G: Tensor | None = None
    if config.algorithm.multi_objective_aggregation == "normalize_then_sum":
        normalised_G = algorithms.normalised_sum(rewards, config.algorithm.weights)
    compared_G = total_G if normalised_G is None else normalised_G
    baseline, has_signal = algorithms.BASELINES[config.algorithm.baseline], False
    if not baseline.needs_greedy:
        signal = baseline.signal(compared_G.unsqueeze(0), None, torch.tensor([bool(lost)]))
        has_signal = bool(signal)
    return RewardedGroup(
        group,
        encoded,
        rewards,
        total_G,
        has_signal,
        log=given.log,
        seconds=given.seconds,
        normalised=normalised_G,
        lost=lost,
        missing=given.missing,
    )


def weighted_sum(
    config: Config,
    group: Group[Any],
    rewards: Mapping[str, Sequence[float | None]],
    lost: Collection[str],
) -> Tensor:
    """Return the weighted sum [G] of a group's rewards; None, and what is ``lost``, adds nothing.

    DAPO's punishment of overlong completions, where it is on, is taken off the sum. Raises
    UserError that names the sample for a sum that is too large.
    """
    lengths_G = torch.tensor([float(len(r.tokens)) for r in group.rollouts])
    limit = config.sampling.max_completion_length
    total_G = -algorithms.overlong(lengths_G, limit, config.algorithm.overlong_cache)
    for name, values in rewards.items():
        if name not in lost:
            weight = config.algorithm.weights.get(name, 1.0)
            total_G += weight * torch.tensor([value or 0.0 for value in values])
    if not bool((total_G.abs() <= LARGEST).all()):
        raise UserError(
            f"sample {group.sample.id!r}: the weighted sum of its rewards is "
            f"{float(total_G.abs().max()):g}, more than {LARGEST:g}; lower algorithm.reward_weights"
        )
    return total_G
