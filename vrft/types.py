"""The nouns of the toolkit, in the order in which a step makes them.

A training step turns B samples into prompts, draws G rollouts of each prompt, and keeps the
rollouts of one prompt together as a group. An evaluation stores each completion as a prediction,
gives it a score, and sums the scores up in a report.

    Sample -> Prompt -> Rollout -> Group                    training
    Sample -> Prompt -> Prediction -> Score -> Report       evaluation

Axes, used as suffixes of names: B prompts, G rollouts of each prompt, N = B * G, P prompt tokens,
C completion tokens. Row ``b * G + g`` of a flat batch is rollout ``g`` of prompt ``b``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from PIL import Image

# All nouns are frozen: threads share them, and rewards get them in other processes, by pickle.

A = TypeVar("A")
"""The type of a task's checkable answer: a box, a number, a class name ..."""


Space = Literal["thousandths", "pixels"]
"""The unit of a model family's coordinates.

Qwen2-VL, Qwen3-VL and Qwen3.5 write thousandths of each axis, Qwen2.5-VL pixels of the picture that
its processor made.
"""


def as_tuple(images: Any) -> tuple[Any, ...]:
    """Return the pictures of a sample or prompt as a tuple, a single one or a list included."""
    # A text is a path: as a tuple of its letters it would be a hundred pictures.
    if isinstance(images, tuple | list):
        return tuple(images)
    return () if images is None else (images,)


@dataclass(frozen=True, slots=True)
class Sample(Generic[A]):
    """A question of a data set with its checkable answer."""

    id: str
    """Unique within the split and the same in every run, as it ties predictions to samples."""
    question: str
    answer: A
    images: tuple[Path | Image.Image, ...] = ()
    """In the order in which the prompt shows them; a path is opened when the picture is needed.

    Any value that ``images.as_picture`` takes does, and a single one without a tuple too.
    """
    subset: str = ""
    """The part of the data set that a report counts separately; "" for none."""
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The row's columns by the data's own names, for rewards of ``--reward``; {} without rows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", as_tuple(self.images))


PLACE = "<image>"
"""The place of a picture in the text of a turn, as TRL, LLaVA and ms-swift write it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier message of a conversation; ``<image>`` in it is the place of a picture."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The model's input: a system text, earlier turns if any, and the user's last turn.

    Each ``<image>`` in a turn is the place of one picture, in order; with no place in any turn,
    the pictures stand before the last turn's text.
    """

    text: str
    """The user's last turn."""
    images: tuple[Path | Image.Image, ...] = ()
    system: str | None = None
    prefill: str = ""
    """The beginning of the answer, which the model continues; it is no part of the completion."""
    raw: bool = False
    """Whether the chat template is left out, for base models.

    Pictures, system, text and prefill then follow each other as they stand.
    """
    turns: tuple[Turn, ...] = ()
    """The turns before the last one, the oldest first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", as_tuple(self.images))


@dataclass(frozen=True, slots=True)
class View:
    """A picture as the model sees it: its size in pixels, and the space of its coordinates.

    The size is that of the picture which the processor resized, not that of the file.
    """

    width: int
    height: int
    space: Space = "thousandths"


@dataclass(frozen=True, slots=True)
class Completion:
    """The text of a model's answer without marks such as its end, for rewards and scores."""

    text: str
    views: tuple[View, ...] = ()
    """One view for each picture of the prompt; () where nobody recorded them."""
    tokens: int = 0
    """The length C in tokens, the end token included; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion that the policy sampled, as text and as tokens."""

    completion: Completion
    tokens: tuple[int, ...]
    """[C] token ids, the end token included."""
    finished: bool
    """Whether the completion ended by itself; False if ``max_completion_length`` cut it off."""
    logprobs: tuple[float, ...] | None = None
    """[C] log-probabilities of the tokens by another engine that sampled them; None: the policy
    itself did."""
    drawn_logprobs: tuple[float, ...] | None = None
    """[C] log-probabilities with which the policy itself drew the tokens, for the log of
    completions; None where nobody took them down."""
    entropy: float | None = None
    """Mean entropy in nats of the distributions that the tokens were drawn from, likewise."""


@dataclass(frozen=True, slots=True)
class Group(Generic[A]):
    """The G rollouts of one prompt, whose rewards are compared with each other.

    Neither devices nor micro-batches divide a group, as its prompt passes the model once.
    """

    sample: Sample[A]
    prompt: Prompt
    rollouts: tuple[Rollout, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of predictions.jsonl: a completion from which every score can be computed again."""

    sample_id: str
    text: str
    views: tuple[View, ...] = ()
    repeat: int = 0
    """The number of this completion among those of the same sample, from 0."""
    tokens: int = 0
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """The metrics of one completion, by name and each in [0, 1], and the answer read from it.

    A completion without a readable answer has every metric, at its worst value: the denominator
    of a mean is always the number of samples.
    """

    metrics: Mapping[str, float]
    parsed: str | float | Sequence[float] | None
    """The answer in a form that JSON can hold; None for an unreadable one."""
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Numerator and denominator of metrics that are no means over samples.

    Their value over a split is the sum of all numerators over the sum of all denominators.
    """


@dataclass(frozen=True, slots=True)
class Scored(Generic[A]):
    """A prediction between the prompt that it answers and its score."""

    sample: Sample[A]
    prompt: Prompt
    """The sample's prompt, built once for scoring, for masks and for pages."""
    prediction: Prediction
    score: Score
    missing: bool = False
    """Whether there is no prediction, so that an empty text stands for it."""

    @property
    def cut(self) -> bool:
        """Return whether the answer was cut off at the limit of its length."""
        return not (self.prediction.finished or self.missing)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``n`` samples with the ends of its 95 % interval, NaN where it is not known."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an evaluation: the mean of every metric, over all samples and per subset."""

    benchmark: str
    n: int
    """The number of samples, the denominator of every mean."""
    unreadable: int
    """How many samples have no readable answer; they count in every mean."""
    metrics: Mapping[str, Interval]
    """Metric -> its mean over all samples; the task's primary metric comes first."""
    subsets: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    """Subset -> metric -> its mean over the samples of the subset."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """Method -> the published value of the primary metric, in percent."""
    missing: int = 0
    """How many samples lack an answer, or one of several; a missing answer counts as wrong."""
    paper_by_metric: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Another metric -> method -> its published value, in percent."""
    cut: int = 0
    """How many answers were cut at the limit of their length, by what their predictions say."""
    notes: tuple[str, ...] = ()
    """Remarks beside the numbers, such as the reason for which published values are left out."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two evaluations of the same samples, and the paired difference of its means."""

    name: str
    """The name of the row in a table: a benchmark's, or the metric's again."""
    metric: str
    before: Interval
    after: Interval
    difference: Interval
    """After less before, by the differences of the single samples, with an interval of its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sample whose primary metric differs between two evaluations."""

    id: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """Return after less before, which is negative for a loss."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two evaluations of the same samples, metric by metric and sample by sample."""

    benchmark: str
    metrics: tuple[Comparison, ...]
    """All metrics of the reports, the task's primary one first."""
    changes: tuple[Change, ...]
    """The samples that changed, from the greatest gain to the greatest loss."""
    note: str = ""
    """What limits the comparison: samples that only one has, and answers that either lacks."""
