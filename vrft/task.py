"""Task and Reward: the interface between the toolkit and what a model is trained for.

A task gives samples, the prompt of a sample, its ideal completion, the rewards that train and the
score that evaluates. The toolkit knows nothing else about a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic

from vrft.errors import UserError
from vrft.types import A, Completion, Prompt, Sample, Score, Scored, View

if TYPE_CHECKING:
    # Tasks without boxes or masks need neither module: `region` alone would load numpy.
    from vrft.boxes import Box
    from vrft.masks import Region

Reward = Callable[[Sample[A], Completion], float | None]
"""A pure function from a sample and a completion to a reward.

The value is a finite number, in [0, 1] unless a published rule has another range; None means that
the reward does not apply to the sample. An unreadable answer earns 0, never None.
"""


class Task(ABC, Generic[A]):
    """An ability that a model is trained for and measured by, such as grounding or counting.

    A task is a frozen dataclass whose fields are its settings (``task.FIELD=VALUE`` on the command
    line). It is the only Task of its module and can be pickled, and so can its samples.
    """

    # A task sets these two without an annotation; with one they would become settings.
    primary: str
    """The metric of ``score`` that stands for the task where a single number is reported."""
    data: str
    """The content that ``data_dir`` must have, in one line for error messages."""

    @abstractmethod
    def samples(self, split: str) -> Sequence[Sample[A]]:
        """Return all samples of a split ("train", "val", "test", ...), always in the same order.

        Raises UserError that names file and row for data that it cannot read.
        """

    @abstractmethod
    def prompt(self, sample: Sample[A]) -> Prompt:
        """Return the sample's question in the form in which the model is asked.

        Several threads call this method at a time, so it must not change the task.
        """

    @abstractmethod
    def reference(self, sample: Sample[A], views: tuple[View, ...]) -> str:
        """Return the ideal completion of a model that sees the pictures through ``views``.

        It is the target of SFT, and ``vrft check`` demands that it earns full marks.
        """

    @abstractmethod
    def rewards(self) -> Mapping[str, Reward[A]]:
        """Return the rewards by name; training maximises their weighted sum.

        The weights are ``algorithm.reward_weights``, 1 unless given.
        """

    @abstractmethod
    def score(self, sample: Sample[A], completion: Completion) -> Score:
        """Return the metrics of one completion, read by the same parser as the rewards."""

    # Tasks about words or numbers leave the following methods as they are.

    def aggregates(self, scored: Sequence[Scored[A]]) -> Mapping[str, float]:
        """Return metrics in [0, 1] that are no mean over samples, such as average precision.

        The evaluation asks for those of a split, of each of its subsets and, to estimate intervals,
        of the split without each part in turn. A metric that is not defined there is NaN.
        """
        return {}

    def boxes(self, sample: Sample[A]) -> tuple[Box, ...]:
        """Return the true boxes to draw beside a prediction; () for a task without boxes.

        Where any sample has some, ``Score.parsed`` is the flat list of the predicted boxes: x1, y1,
        x2, y2 of each, as fractions of the picture.
        """
        return ()

    def boxed_picture(self, sample: Sample[A]) -> int:
        """Return which picture of the prompt the boxes and the region lie in, from 0."""
        return 0

    def region(self, sample: Sample[A]) -> Region | None:
        """Return the shapes behind the true box, to score masks; None where the data has none."""
        return None


def samples_of(task: Task[A], split: str) -> Sequence[Sample[A]]:
    """Return the samples of a split; raise UserError where a task gives no list.

    A generator could be read only once, and has no length.
    """
    samples = task.samples(split)
    listed = hasattr(samples, "__len__") and hasattr(samples, "__getitem__")
    if not listed or isinstance(samples, Mapping | str):
        raise UserError(
            f"split {split!r}: the task's samples() gave a value of type {type(samples).__name__}; "
            "return a list of Sample"
        )
    return samples


def check_types(prompt: object, reference: object) -> None:
    """Raise UserError unless a task gave a Prompt, and a text as its ideal completion."""
    if not isinstance(prompt, Prompt):
        raise UserError(f"the task's prompt() gave a {type(prompt).__name__}; return a Prompt")
    if not isinstance(reference, str):
        raise UserError(f"the task's reference() gave a {type(reference).__name__}; return a text")


def check_template(template: str, placeholder: str) -> None:
    """Raise UserError unless a task's template holds ``{placeholder}``.

    The placeholder is filled by ``str.replace``: with ``str.format`` all other braces of a
    template, as in a JSON example, would have to be doubled.
    """
    if f"{{{placeholder}}}" not in template:
        raise UserError(f"task.template: write {{{placeholder}}} where the {placeholder} belongs")
