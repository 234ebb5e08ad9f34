"""What can be known of a task and its data before any training: ``vrft check``.

Gold answers go through the task's own rewards and score and must earn full marks; empty and
garbage answers must earn nothing; every picture is opened and counted in tokens; splits must not
share pictures; and the task must work in another process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import pickle
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from vrft import images, rewards
from vrft.errors import UserError
from vrft.task import Task
from vrft.types import A, Completion, Prompt, Sample, Space, View

MIN_PIXELS = 4 * 28 * 28
MAX_PIXELS = 16384 * 28 * 28
"""The limits in Qwen2-VL's and Qwen2.5-VL's checkpoints: 4 to 16384 image tokens."""

GARBAGE = ("", " \n", "???", "<answer>", "<think>???</think>", "</answer>???<answer>")
EMPTY_ANSWER = "<think>???</think><answer></answer>"
"""Unreadable, though a lenient rule of format may accept it."""

Sizes = Sequence[tuple[int, int]]
"""(width, height) at which the model sees each picture of a sample."""

READABLE = 0.5
"""A gold answer that earns less than this was misread."""
ROUNDED = 0.95
"""A gold answer that earns less than this lost it by rounding, as small boxes do."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, middle, 95 % and largest of some numbers."""

    smallest: float
    median: float
    most: float
    largest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Order statistics of at least one number."""
        ranked, last = sorted(numbers), len(numbers) - 1
        return cls(ranked[0], ranked[last // 2], ranked[round(0.95 * last)], ranked[last])

    def __str__(self) -> str:
        return (
            f"smallest {self.smallest:g}, median {self.median:g}, "
            f"95 % {self.most:g}, largest {self.largest:g}"
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """The size in pixels of a picture that opened, and a hash of what it shows."""

    size: tuple[int, int]
    digest: str


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """What was found in one split; ``gold`` is the mean of every reward and the primary metric."""

    split: str
    samples: int
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    gold: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The split in words, one fact a line."""
        gold = ", ".join(f"{name} {value:.3f}" for name, value in self.gold.items())
        return [
            f"{self.split}: {self.samples} samples, {len(self.pictures)} pictures",
            *(f"  {name}: {spread}" for name, spread in self.spreads.items()),
            *([f"  gold answers earn: {gold}"] if gold else []),
            *(f"  problem: {problem}" for problem in self.problems),
            *(f"  note: {note}" for note in self.notes),
        ]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All splits, and the problems that concern them together."""

    splits: tuple[SplitCheck, ...]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no problem was found; notes are allowed."""
        return not self.problems and not any(split.problems for split in self.splits)

    def lines(self) -> list[str]:
        """The result in words; the last line is the verdict."""
        count = len(self.problems) + sum(len(split.problems) for split in self.splits)
        verdict = "ready to train" if self.ok else f"not ready: {count} problem(s), see above"
        return [
            *(line for split in self.splits for line in split.lines()),
            *(f"problem: {problem}" for problem in self.problems),
            verdict,
        ]

    def to_json(self) -> dict[str, Any]:
        """The result as plain values; of the pictures only their number."""
        splits = [dataclasses.asdict(split) for split in self.splits]
        for split in splits:
            split["pictures"] = len(split["pictures"])
        return {"ok": self.ok, "splits": splits, "problems": list(self.problems)}


def check(
    task: Task[A],
    splits: Sequence[str],
    policy_lengths: Callable[[Sequence[Prompt]], Sequence[int]] | None = None,
    limit: int | None = None,
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
) -> CheckResult:
    """Everything that can be checked of these splits without training, the first as train split.

    ``policy_lengths`` counts the tokens of prompts (a model's tokenizer), ``limit`` bounds the
    samples of each split, and the pixel limits are those of the model's processor. UserError for
    data that the task cannot read.
    """
    checked = []
    for split in splits:
        samples = task.samples(split)[:limit]
        found = check_split(task, split, samples, (min_pixels, max_pixels))
        if policy_lengths and samples:
            lengths = Spread.of(policy_lengths([task.prompt(sample) for sample in samples]))
            spreads = {**found.spreads, "prompt tokens": lengths}
            found = dataclasses.replace(found, spreads=spreads)
        checked.append(found)
    return CheckResult(tuple(checked), tuple(leaks(checked)))


def check_split(
    task: Task[A], split: str, samples: Sequence[Sample[A]], pixels: tuple[int, int]
) -> SplitCheck:
    """One split on its own."""
    if not samples:
        return SplitCheck(split, 0, problems=("no samples",))
    problems = duplicates(samples)
    pictures, unreadable = open_pictures(samples)
    opened = [s for s in samples if all(_key(i) in pictures for i in s.images)]
    sizes = [
        [images.resized_size(*pictures[_key(i)].size, *pixels) for i in s.images] for s in opened
    ]
    gold, wrong, notes = check_gold(task, opened, sizes)
    problems += unreadable + wrong
    if opened:
        problems += check_garbage(task, opened[0], sizes[0])
        problems += check_process(task, opened[0], sizes[0])
    return SplitCheck(
        split, len(samples), pictures, _spreads(pictures, sizes), gold, tuple(problems), notes
    )


def duplicates(samples: Sequence[Sample[A]]) -> list[str]:
    """A problem for ids that several samples of a split share."""
    counts = Counter(sample.id for sample in samples)
    return _offenders("share their id with another", [id for id, n in counts.items() if n > 1])


def open_pictures(samples: Sequence[Sample[A]]) -> tuple[dict[str, Picture], list[str]]:
    """Every picture opened once, by path; and a problem for each that does not open."""
    pictures: dict[str, Picture] = {}
    failed: dict[str, str] = {}
    for source in (source for sample in samples for source in sample.images):
        key = _key(source)
        if key in pictures or key in failed:
            continue
        try:
            image = images.open_image(source)
            images.resized_size(*image.size, MIN_PIXELS, MAX_PIXELS)
        except UserError as error:
            failed[key] = str(error)
        else:
            content = f"{image.size}".encode() + image.tobytes()
            pictures[key] = Picture(image.size, hashlib.sha256(content).hexdigest())
    return pictures, list(failed.values())


def check_gold(
    task: Task[A], samples: Sequence[Sample[A]], sizes: Sequence[Sizes]
) -> tuple[dict[str, float], list[str], tuple[str, ...]]:
    """Mean marks of the gold answers by name, problems, notes; in every coordinate space."""
    earned: defaultdict[str, list[float]] = defaultdict(list)
    misread, rounded = [], []
    for sample, shown in zip(samples, sizes, strict=True):
        for space in get_args(Space):
            marks = gold_marks(task, sample, _views(shown, space))
            for name, value in marks.items():
                earned[name].append(value)
            lowest = min(marks.values())
            if lowest < READABLE:
                misread.append(sample.id)
            elif lowest < ROUNDED:
                rounded.append(sample.id)
    problems = _offenders("have a gold answer that earns no full marks", misread)
    notes = _offenders("lose more than 5 % of full marks by rounding to whole numbers", rounded)
    means = {name: sum(values) / len(values) for name, values in earned.items()}
    return means, problems, tuple(notes)


def gold_marks(task: Task[A], sample: Sample[A], views: tuple[View, ...]) -> dict[str, float]:
    """The rewards that apply to the gold answer, and its primary metric (0 if unreadable)."""
    completion = Completion(task.reference(sample, views), views)
    score = task.score(sample, completion)
    marks = {f"reward {k}": v for k, v in rewards.grade(task, sample, completion).items()}
    marks[task.primary] = 0.0 if score.parsed is None else score.metrics[task.primary]
    return {name: value for name, value in marks.items() if value is not None}


def check_garbage(task: Task[A], sample: Sample[A], shown: Sizes) -> list[str]:
    """Problems of answers that must be unreadable and earn nothing."""
    views = _views(shown, "thousandths")
    problems = []
    for text in (*GARBAGE, EMPTY_ANSWER):
        completion = Completion(text, views)
        score = task.score(sample, completion)
        if score.parsed is not None or score.metrics[task.primary] > 0:
            problems.append(f"the answer {text!r} is read as {score.parsed!r}")
        if text == EMPTY_ANSWER:
            continue
        for name, value in rewards.grade(task, sample, completion).items():
            if value:
                problems.append(f"the answer {text!r} earns {value:g} of reward {name}")
    return problems


def check_process(task: Task[A], sample: Sample[A], shown: Sizes) -> list[str]:
    """A problem unless task and sample travel to a spawned process and are graded there alike."""
    views = _views(shown, "thousandths")
    completion = Completion(task.reference(sample, views), views)
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            remote = pool.submit(rewards.grade, task, sample, completion).result()
    except (pickle.PicklingError, AttributeError, TypeError, ImportError, BrokenProcessPool) as e:
        return [f"the task does not work in a spawned process: {e}"]
    same = remote == rewards.grade(task, sample, completion)
    return [] if same else ["rewards in a spawned process differ from those here"]


def leaks(splits: Sequence[SplitCheck]) -> list[str]:
    """A problem for every later split that shares pictures with the first."""
    if not splits:
        return []
    train = {picture.digest for picture in splits[0].pictures.values()}
    return [
        f"{split.split} shares pictures with {splits[0].split}: {problem}"
        for split in splits[1:]
        for problem in _offenders(
            "are in both", [key for key, p in split.pictures.items() if p.digest in train]
        )
    ]


def _spreads(pictures: Mapping[str, Picture], sizes: Iterable[Sizes]) -> dict[str, Spread]:
    if not pictures:
        return {}
    tokens = [sum(images.image_tokens(*size) for size in shown) for shown in sizes]
    return {
        "picture width": Spread.of([picture.size[0] for picture in pictures.values()]),
        "picture height": Spread.of([picture.size[1] for picture in pictures.values()]),
        **({"image tokens": Spread.of(tokens)} if tokens else {}),
    }


def _views(shown: Sizes, space: Space) -> tuple[View, ...]:
    return tuple(View(width, height, space) for width, height in shown)


def _key(source: Path | Image.Image) -> str:
    return str(source) if isinstance(source, Path) else f"picture in memory {id(source)}"


def _offenders(complaint: str, names: Iterable[str]) -> list[str]:
    """One line that counts the offenders and names the first; none without offenders."""
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:3]) + (", ..." if len(unique) > 3 else "")
    return [f"{len(unique)} {complaint}: {shown}"] if unique else []
