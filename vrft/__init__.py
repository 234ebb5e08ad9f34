"""Visual reinforcement fine-tuning of Qwen-VL models on tasks with a checkable answer.

``train``, ``evaluate`` and ``load`` are the commands from Python (``vrft.cli.python``); the other
names are those that a task file needs. Nothing here imports torch before it is called, so that
``vrft --help`` and the tasks load at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vrft.errors import UserError
from vrft.task import Reward, Task
from vrft.types import Completion, Prediction, Prompt, Report, Rollout, Sample, Score, Turn, View

if TYPE_CHECKING:
    from vrft.cli.python import LoadedPolicy, evaluate, load, train
    from vrft.cli.results import EvalResult, TrainResult

__all__ = [
    "Completion",
    "EvalResult",
    "LoadedPolicy",
    "Prediction",
    "Prompt",
    "Report",
    "Reward",
    "Rollout",
    "Sample",
    "Score",
    "Task",
    "TrainResult",
    "Turn",
    "UserError",
    "View",
    "evaluate",
    "load",
    "train",
]

COMMANDS = ("EvalResult", "LoadedPolicy", "TrainResult", "evaluate", "load", "train")
"""The names that ``vrft.cli.python`` has: the first use of one imports it (PEP 562)."""

# Hidden from type checkers, for which a module with __getattr__ has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a name of COMMANDS; AttributeError for any other."""
        if name not in COMMANDS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("vrft.cli.python"), name)

    def __dir__() -> list[str]:
        """Return the public names, for completion in notebooks."""
        return sorted([*globals(), *COMMANDS])
