"""Visual reinforcement fine-tuning of Qwen-VL models on tasks with a checkable answer.

The names here are those that a task file needs. None of them imports torch, so that
``vrft --help`` and the tasks load at once.
"""

from vrft.errors import UserError
from vrft.task import Reward, Task
from vrft.types import Completion, Prediction, Prompt, Report, Rollout, Sample, Score, Turn, View

__all__ = [
    "Completion",
    "Prediction",
    "Prompt",
    "Report",
    "Reward",
    "Rollout",
    "Sample",
    "Score",
    "Task",
    "Turn",
    "UserError",
    "View",
]
