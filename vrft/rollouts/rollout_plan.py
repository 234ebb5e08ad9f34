"""The check of a run's settings of rollouts, before anything is started."""

from __future__ import annotations

from vrft.config.schema import Config
from vrft.engines import engines
from vrft.errors import UserError


def check(config: Config) -> None:
    """Raise UserError for settings of rollouts with which the run cannot start, or learns wrongly.

    Nothing is started.
    """
    algorithm, sampling, vllm = config.algorithm, config.sampling, config.rollout.engine == "vllm"
    if vllm and not algorithm.by_reward:
        raise UserError("rollout.engine=vllm: algorithm=sft samples nothing; leave it out")
    if config.rollout.ahead and not vllm:
        raise UserError(
            "rollout.ahead=1: only a server can sample while the policy trains; set "
            "rollout.engine=vllm, or leave it out"
        )
    if not vllm and algorithm.importance_sampling not in ("auto", "off"):
        raise UserError(
            f"algorithm.importance_sampling={algorithm.importance_sampling}: the policy itself "
            "samples, so that every weight would be 1; leave it out, or set rollout.engine=vllm"
        )
    if vllm and algorithm.importance_sampling != "off":
        neutral = {"top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
        for name, value in neutral.items():
            if getattr(sampling, name) != value:
                raise UserError(
                    f"sampling.{name}={getattr(sampling, name):g}: the engine's log-probabilities "
                    "are those of the changed distribution and the policy's are not, so that "
                    f"importance weights would be biased; set sampling.{name}={value:g}, or "
                    "algorithm.importance_sampling=off"
                )
    engines.check(config)


def rollout_line(config: Config) -> str:
    """Return where a server samples, when, and how its distance from the policy is corrected."""
    settings, algorithm = config.rollout.vllm, config.algorithm
    where = f"at {settings.url}" if settings.url else f"started by {settings.python}"
    when = ", a step ahead of the update" if config.rollout.ahead else ""
    mode = algorithm.importance_sampling
    named = "sequence_mask" if mode == "auto" else mode
    weights = "none" if mode == "off" else f"{named} above {algorithm.importance_sampling_cap:g}"
    return f"by a vLLM server {where}{when}; importance weights: {weights}"
