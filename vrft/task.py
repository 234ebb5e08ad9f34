"""The one interface between the toolkit and what it is trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from vrft.types import A, Completion, Prompt, Sample, Score, Scored, View

if TYPE_CHECKING:
    from vrft.boxes import Box
    from vrft.masks import Region

S = TypeVar("S")

Reward = Callable[[Sample[S], Completion], float | None]
"""A reward in [0, 1] of one completion; None where it does not apply to the sample."""


class Task(ABC, Generic[A]):
    """Where samples come from, how to ask about them, and how to grade a completion.

    A task is a frozen dataclass whose fields are its settings (``task.field=value`` on the command
    line), the only Task of its module, and picklable. ``primary`` names the metric of ``score``
    that one number reports; ``data`` says in one line what ``data_dir`` must hold.
    """

    primary: str
    data: str

    @abstractmethod
    def samples(self, split: str) -> Sequence[Sample[A]]:
        """All samples of a split ("train", "val", "test", ...), always in the same order.

        Raises UserError that names the file and the row for data it cannot read.
        """

    @abstractmethod
    def prompt(self, sample: Sample[A]) -> Prompt:
        """The question as the model is asked it; several threads may ask at a time."""

    @abstractmethod
    def reference(self, sample: Sample[A], views: tuple[View, ...]) -> str:
        """The ideal completion of a model that sees the pictures through ``views``.

        It is the target of SFT and the gold answer of ``vrft check``.
        """

    @abstractmethod
    def rewards(self) -> Mapping[str, Reward[A]]:
        """The rewards by name; training maximises their weighted sum."""

    @abstractmethod
    def score(self, sample: Sample[A], completion: Completion) -> Score:
        """The metrics of one completion, read by the parser that the rewards use."""

    def aggregates(self, graded: Sequence[Scored[A]]) -> Mapping[str, float]:
        """Metrics in [0, 1] of all answers together that are no mean over samples, such as mAP.

        Asked for the answers to the whole split and for those to each subset; NaN where a metric
        is not defined.
        """
        return {}

    def boxes(self, sample: Sample[A]) -> tuple[Box, ...]:
        """The true boxes, for pictures of predictions; none for a task that is not about boxes.

        Where there are some, ``Score.parsed`` are the predicted boxes: x1, y1, x2, y2 of each, as
        fractions.
        """
        return ()

    def region(self, sample: Sample[A]) -> Region | None:
        """What the true box stands for, where the data has it: to score masks made of boxes."""
        return None
