"""The plan of a run from Python: ``vrft.plan``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vrft.api.memory import Data, data_source
from vrft.api.options import columns_of, name_of, options, overrides
from vrft.api.results import TrainResult
from vrft.api.rewards import Rewards, named_rewards, with_rewards
from vrft.checks.findings import StepPlan
from vrft.cli import arguments
from vrft.cli import plan as command
from vrft.errors import UserError

Model = str | os.PathLike[str] | Mapping[str, Any] | TrainResult
"""A folder or hub id, a run, or several settings below ``model``."""


def plan(
    data: Data | None = None,
    *,
    gpu: str | Sequence[str] = (),
    devices: int = 1,
    zero: int = 0,
    offload: bool = False,
    pictures: Sequence[tuple[int, int]] = (),
    words: int | None = None,
    reward: Rewards | None = None,
    model: Model | None = None,
    task: str | Mapping[str, Any] | None = None,
    config: str | None = None,
    limit: int | None = None,
    **settings: Any,
) -> StepPlan:
    """Return what a training step takes, and which cards it fits, as ``vrft plan`` prints it.

    ``gpu`` are cards or sizes such as "24GB"; none: 24, 40 and 80 GB. Without data, ``pictures``
    of (width, height) in pixels and ``words``, tokens of text, describe the prompt. ``limit``
    bounds the samples that are measured. The other arguments are those of ``vrft.train``. No
    weights are loaded. Raises UserError as the command does.

    >>> import vrft
    >>> planned = vrft.plan(
    ...     pictures=[(112, 112)], gpu="24GB", model="demo",
    ...     sampling={"max_completion_length": 8},
    ... )
    >>> planned.fits
    {'24GB': True}
    >>> planned.cards[0].settings
    ()
    """
    from vrft import registry

    functions, sources = named_rewards(reward)
    sections = {"task": task if isinstance(task, Mapping) else None, "model": model, **settings}
    given = overrides(sections)
    named = {
        "--data": None if data is None else data_source(data, columns_of(given, config)),
        "--task": None if isinstance(task, Mapping) else name_of("task", task),
        "--config": name_of("config", config),
        "--limit": limit,
        "--words": words,
        "--devices": devices,
        "--zero": zero,
        "--offload": offload,
    }
    cards = gpu if isinstance(gpu, list | tuple) else [gpu]
    repeated = [f"--gpu={name}" for name in cards]
    for size in pictures:
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise UserError(f"pictures: expected pairs of width and height, got {size!r:.60}")
        repeated.append("--picture={}x{}".format(*size))
    args = arguments.parse(["plan", *options(named), *repeated, *given])
    command.check_options(args, sources)
    with registry.reward_functions(functions):
        return command.step_plan_of(with_rewards(command.configuration(args), sources, None), args)
