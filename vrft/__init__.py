"""Visual reinforcement fine-tuning of Qwen-VL models on tasks with a checkable answer.

``check``, ``plan``, ``train``, ``evaluate``, ``evaluate_checkpoints``, ``compare`` and ``load`` are
the commands from Python (``vrft.api``), beside the classes of their results, and ``viz`` shows
these; the other names are those that a task file needs. Nothing here imports torch before it is
called, so that ``vrft --help`` and the tasks load at once.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from vrft.errors import UserError
from vrft.task import Reward, Task
from vrft.types import Completion, Prediction, Prompt, Report, Rollout, Sample, Score, Turn, View

if TYPE_CHECKING:
    __version__: str

    from vrft import viz
    from vrft.api.comparison import CompareResult, compare
    from vrft.api.evaluation import evaluate, evaluate_checkpoints
    from vrft.api.model import LoadedPolicy, load
    from vrft.api.plan import plan
    from vrft.api.results import CheckpointsResult, CheckResult, EvalResult, Plan, TrainResult
    from vrft.api.training import check, train
    from vrft.step_plans.verdicts import StepPlan

__all__ = [
    "CheckResult",
    "CheckpointsResult",
    "CompareResult",
    "Completion",
    "EvalResult",
    "LoadedPolicy",
    "Plan",
    "Prediction",
    "Prompt",
    "Report",
    "Reward",
    "Rollout",
    "Sample",
    "Score",
    "StepPlan",
    "Task",
    "TrainResult",
    "Turn",
    "UserError",
    "View",
    "check",
    "compare",
    "evaluate",
    "evaluate_checkpoints",
    "load",
    "plan",
    "train",
    "viz",
]

LAZY = {
    name: module
    for module, names in {
        "training": ("check", "train"),
        "comparison": ("CompareResult", "compare"),
        "evaluation": ("evaluate", "evaluate_checkpoints"),
        "model": ("LoadedPolicy", "load"),
        "results": ("CheckResult", "CheckpointsResult", "EvalResult", "Plan", "TrainResult"),
        "plan": ("StepPlan", "plan"),
    }.items()
    for name in names
}
"""Name -> the module of ``vrft.api`` that has it, imported at its first use (PEP 562)."""

SILENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # TRL's trainers report to the hub that they begin
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
"""Variables by which libraries do not report their use; one that the user has set stays."""

for _name, _value in SILENT.items():
    os.environ.setdefault(_name, _value)
# The hub's client looks at them once, when it is imported.
if os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1" and "huggingface_hub.constants" in sys.modules:
    vars(sys.modules["huggingface_hub.constants"])["HF_HUB_DISABLE_TELEMETRY"] = True

# Hidden from type checkers, for which a module with __getattr__ has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a name of LAZY, or the version; AttributeError for any other."""
        if name == "__version__":
            # Reading the package's metadata takes longer than all the rest of this module.
            return importlib.import_module("importlib.metadata").version("vrft")
        if name == "viz":
            return importlib.import_module("vrft.viz")  # which imports Pillow
        if name not in LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"vrft.api.{LAZY[name]}"), name)

    def __dir__() -> list[str]:
        """Return the public names, for completion in notebooks."""
        return sorted({*globals(), *LAZY, "viz"})
