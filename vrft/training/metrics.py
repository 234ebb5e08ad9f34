"""The metrics of a step by TRL's names, and the log's rows of its completions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator

from vrft import mathverify
from vrft.errors import UserError
from vrft.models.token_pieces import TokenPieces
from vrft.objectives import algorithms
from vrft.objectives.types import Batch, Experience, TokenStats
from vrft.processes import exchange
from vrft.rewards import score_of
from vrft.rewards.trl import GroupReward, RewardLog
from vrft.task import Task
from vrft.training import health
from vrft.training.run import Run
from vrft.types import Rollout

COLUMNS = ("sample_id", "text", "parsed", "finished", "tokens", "rewards", "reward", "advantage")
"""The columns of the log of completions; rewards may log others."""

TOKEN_COLUMNS = ("token_logprobs", "token_chars", "token_entropy")
"""The columns that ``train.log_token_logprobs`` adds, and that rewards may not log either."""

QUANTILES = {"p50": 0.5, "p99": 0.99}
"""Names -> shares of the quantiles of a reward's seconds."""


def step_metrics(
    run: Run, batch: Batch, updates: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return the metrics of a step by TRL's names, over the groups of all devices.

    Nothing of the run is changed. Metrics of updates are averaged over the updates that have them.
    """
    accelerator, done = run.accelerator, run.progress
    rewards_BG = exchange.gather(accelerator, batch.rewards)
    compared_BG = exchange.gather(accelerator, batch.compared)
    lengths_BG = exchange.gather(accelerator, batch.lengths)
    truncated_BG = exchange.gather(accelerator, batch.truncated)
    names = dict.fromkeys(name for update in updates for name in update)
    metrics = {name: fmean(u[name] for u in updates if name in u) for name in names}
    metrics |= {
        "resample_rounds": float(batch.rounds),
        "reward": float(rewards_BG.mean()),
        # One completion of a prompt has no deviation; 0 is what it adds to the mean.
        "reward_std": float(rewards_BG.std(1, correction=min(1, rewards_BG.shape[1] - 1)).mean()),
        "frac_reward_zero_std": 1 - float(algorithms.has_signal(compared_BG).float().mean()),
        **without_signal(run, batch),
    }
    for name in batch.groups[0].rewards:
        own = [[math.nan if v is None else v for v in g.rewards[name]] for g in batch.groups]
        values = exchange.gather(accelerator, torch.tensor(own))
        given = values[~values.isnan()]  # the reward may not apply to every sample
        metrics[f"rewards/{name}/mean"] = float(given.mean())
        metrics[f"rewards/{name}/std"] = float(given.std()) if len(given) > 1 else math.nan
    return metrics | {
        "completions/mean_length": float(lengths_BG.mean()),
        "completions/min_length": float(lengths_BG.min()),
        "completions/max_length": float(lengths_BG.max()),
        "completions/clipped_ratio": float(truncated_BG.mean()),
        "num_tokens": float(done.num_tokens),
        "epoch": done.cursor / len(run.samples),
        **health.observed(run, batch),
    }


def without_signal(run: Run, batch: Batch) -> dict[str, float]:
    """Return the share of groups that teach nothing, where that is not ``frac_reward_zero_std``.

    Groups of equal rewards teach too, or single completions, where they are compared with more than
    each other.
    """
    if algorithms.BASELINES[run.config.algorithm.baseline].needs_siblings:
        return {}
    own = torch.tensor([float(not rewarded.has_signal) for rewarded in batch.groups])
    return {"frac_without_signal": float(exchange.gather(run.accelerator, own).mean())}


def logged_means(run: Run, batch: Batch, taken: Collection[str]) -> dict[str, float]:
    """Return the means over all devices of the metrics that rewards have logged.

    A value that is not finite does not count; a metric of such values alone is NaN. Raises
    UserError for a metric whose name is ``taken``.
    """
    own: dict[str, tuple[float, int]] = {}
    for rewarded in batch.groups:
        for name, values in rewarded.log.metrics.items():
            total, count = own.get(name, (0.0, 0))
            finite = [value for value in values if math.isfinite(value)]
            own[name] = (total + sum(finite), count + len(finite))
    rewards = run.task.rewards().values()
    can_log = (
        run.config.algorithm.missing_rewards == "none"
        or mathverify.in_use()
        or any(isinstance(reward, GroupReward) for reward in rewards)
    )
    # Devices may have logged other names, and not each has had to ask math-verify so far.
    gathers = exchange.max_over_ranks(run.accelerator, int(can_log))
    devices = exchange.gather_objects(run.accelerator, [own]) if gathers else [own]
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for device in devices for name in device):
        if name in taken:
            raise UserError(f"log_metric({name!r}): the run has a metric of that name; rename it")
        sums, counts = zip(*(device.get(name, (0.0, 0)) for device in devices), strict=True)
        means[name] = sum(sums) / sum(counts) if sum(counts) else math.nan
    return means


def check_columns(log: RewardLog) -> None:
    """Raise UserError for a logged column that bears the name of one of COLUMNS."""
    for name in log.columns:
        if name in (*COLUMNS, *TOKEN_COLUMNS):
            raise UserError(f"log_extra({name!r}): completions have such a column; rename it")


def token_metrics(accelerator: Accelerator, stats: Sequence[TokenStats]) -> dict[str, float]:
    """Return means and largest values over all devices' tokens, from own micro-batches'."""
    if not stats:
        return {}
    names = sorted(stats[0].sums)  # in one order on all devices
    own = torch.stack([sum((part.sums[name] for part in stats), torch.zeros(())) for name in names])
    totals = exchange.gather(accelerator, own.cpu()[None]).sum(0)
    by_name = dict(zip(names, totals, strict=True))
    tokens = by_name.pop("tokens")
    means = {name: float(total / tokens.clamp(min=1)) for name, total in by_name.items()}
    for name in sorted(stats[0].largest):
        most = torch.stack([part.largest[name].cpu() for part in stats]).max()
        means[name] = float(exchange.gather(accelerator, most[None]).max())
    return means


def completion_rows(
    task: Task[Any], batch: Batch, experience: Experience, pieces: TokenPieces | None = None
) -> list[dict[str, Any]]:
    """Return a row for each completion: its text, what was read of it, rewards and advantage.

    Where the tokens of a completion differ in advantage, the first token's is given. With
    ``pieces``, ``token_columns`` follow, and the columns that rewards have logged. Raises UserError
    for a score that JSON cannot hold.
    """
    # What was read is logged, and no metric of the score: what only that would ask is not asked.
    with mathverify.remembered():
        return [
            {
                "sample_id": rewarded.group.sample.id,
                "text": rollout.completion.text,
                "parsed": score_of(task, rewarded.group.sample, rollout.completion).parsed,
                "finished": rollout.finished,
                "tokens": len(rollout.tokens),
                "rewards": {name: values[g] for name, values in rewarded.rewards.items()},
                "reward": float(rewarded.total[g]),
                "advantage": float(experience.advantages[b, g, 0]),
                **({} if pieces is None else token_columns(rollout, pieces)),
                **{name: values[g] for name, values in rewarded.log.columns.items()},
            }
            for b, rewarded in enumerate(batch.groups)
            for g, rollout in enumerate(rewarded.group.rollouts)
        ]


def token_columns(rollout: Rollout, pieces: TokenPieces) -> dict[str, Any]:
    """Return TOKEN_COLUMNS of a rollout, {} where nobody took its log-probabilities down.

    The log-probabilities [C] are rounded to two decimals, as the engine that sampled gave them;
    ``token_chars`` [C] are the characters that each token wrote, whose pieces are the text's end.
    The mean entropy in nats is not known of rollouts of a server.
    """
    logps = rollout.logprobs if rollout.drawn_logprobs is None else rollout.drawn_logprobs
    if logps is None:
        return {}
    return {
        # 0 takes a third of the room of -0.0, and most tokens are as certain as that.
        "token_logprobs": [round(value, 2) or 0 for value in logps],
        "token_chars": pieces.lengths(rollout.tokens, rollout.completion.text),
        # Rounding may leave a certain distribution a little below 0.
        "token_entropy": None if rollout.entropy is None else round(max(0.0, rollout.entropy), 4),
    }


def reward_seconds(run: Run, batch: Batch) -> dict[str, float]:
    """Return p50 and p99 of the seconds of each reward, over the groups of all devices.

    One value is the time that a reward took for the G completions of a group.
    """
    own = [rewarded.seconds for rewarded in batch.groups]
    groups = exchange.gather_objects(run.accelerator, own)
    return {
        f"rewards/{name}/seconds_{word}": quantile([seconds[name] for seconds in groups], share)
        for name in batch.groups[0].seconds
        for word, share in QUANTILES.items()
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that a share of all values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
