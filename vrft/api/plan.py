"""The plan of a run from Python: ``vrft.plan``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vrft.api.memory import Data
from vrft.api.options import Model
from vrft.api.rewards import Rewards, named_rewards, with_rewards
from vrft.api.training import parsed
from vrft.cli import plan as command
from vrft.errors import UserError
from vrft.step_plans.verdicts import StepPlan


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
    for size in pictures:
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise UserError(f"pictures: expected pairs of width and height, got {size!r:.60}")
    given = {
        "--limit": limit,
        "--words": words,
        "--devices": devices,
        "--zero": zero,
        "--offload": offload,
        "--gpu": [str(name) for name in (gpu if isinstance(gpu, list | tuple) else [gpu])],
        "--picture": ["{}x{}".format(*size) for size in pictures],
    }
    args = parsed("plan", data, task, config, given, model, settings)
    command.check_options(args, sources)
    with registry.reward_functions(functions):
        return command.step_plan_of(with_rewards(command.configuration(args), sources, None), args)
