"""The nouns of the toolkit, in the order in which one training step makes them.

Axes, used as suffixes where they help: B prompts, G rollouts of each, P prompt tokens,
C completion tokens. Row ``b * G + g`` of a flat batch is rollout ``g`` of prompt ``b``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from PIL import Image

A = TypeVar("A")
"""The type of a task's checkable answer: a box, a number, a class name ..."""


Space = Literal["thousandths", "pixels"]
"""How a model family writes coordinates: Qwen2-VL in 0..1000, Qwen2.5-VL in resized pixels."""


@dataclass(frozen=True, slots=True)
class Sample(Generic[A]):
    """One question of a data set with its checkable answer.

    ``id`` is unique within its split and stable from run to run; ``subset`` names the part of the
    data set that reports count separately ("" for none).
    """

    id: str
    question: str
    answer: A
    images: tuple[Path | Image.Image, ...] = ()
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: an optional system text, the user's text, pictures before the text.

    ``prefill`` opens the model's answer (base models continue it); "" for none. A ``raw`` prompt
    is not put into the model's chat template: pictures, system, text and prefill follow each
    other as they stand.
    """

    text: str
    images: tuple[Path | Image.Image, ...] = ()
    system: str | None = None
    prefill: str = ""
    raw: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The size in pixels at which the model really saw a picture, and how it writes coordinates."""

    width: int
    height: int
    space: Space = "thousandths"


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer as text, without special tokens, and one view per picture of the prompt.

    ``tokens`` is its length, the end token included; 0 where it is not known.
    """

    text: str
    views: tuple[View, ...] = ()
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """A sampled completion: its token ids (C of them, the end token included) and whether it ended.

    ``finished`` is False when the completion was cut at ``max_completion_length``.
    """

    completion: Completion
    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Group(Generic[A]):
    """The G rollouts of one prompt: the unit of GPG, never split over devices or micro-batches."""

    sample: Sample[A]
    prompt: Prompt
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How good one completion is: named metrics in [0, 1], and what was read from it.

    ``parsed`` is the answer as plain text or numbers (it is written to JSON), None if unreadable.
    An unreadable answer still has every metric, at its worst value. ``ratios`` are metrics that
    are no means: the sum of all samples' numerators over that of their denominators.
    """

    metrics: Mapping[str, float]
    parsed: str | float | Sequence[float] | None
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of predictions.jsonl: the raw text that everything else is computed from.

    ``repeat`` counts the answers to one sample when several are drawn.
    """

    sample_id: str
    text: str
    views: tuple[View, ...] = ()
    repeat: int = 0
    tokens: int = 0
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Scored(Generic[A]):
    """One answer, with its views, and its score.

    ``missing`` where there is no answer and an empty one stands for it.
    """

    sample: Sample[A]
    prediction: Prediction
    score: Score
    missing: bool = False


Graded = Scored
"""Another name of Scored, which task files may still import."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``n`` samples with its 95 % interval, whose ends are NaN if it is not known."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an evaluation: every metric over all ``n`` samples, and per subset.

    ``unreadable`` counts the samples whose answer could not be read, ``missing`` those of them
    that have no answer at all; they are part of every mean. The first metric is the task's
    primary one; ``paper`` holds published values of it in percent, by method, and
    ``paper_by_metric`` those of other metrics.
    """

    benchmark: str
    n: int
    unreadable: int
    metrics: Mapping[str, Interval]
    subsets: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    paper: Mapping[str, float] = field(default_factory=dict)
    missing: int = 0
    paper_by_metric: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
