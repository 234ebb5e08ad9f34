"""What can be known of a task and its data before any training: ``vrft check``.

Every picture is opened, every prompt is counted in tokens, every gold answer is graded by the
task's own rewards and score, and splits are compared with the first one.
"""

from __future__ import annotations

from collections.abc import Sequence

from vrft.checks import gold_answers, leaks
from vrft.checks import samples as inspection
from vrft.checks.findings import CheckResult, Finding, Findings, SplitCheck
from vrft.checks.leaks import Fingerprint
from vrft.checks.samples import OpenedSample, PromptCounter, tracked
from vrft.task import Task
from vrft.types import A, Sample

PIXELS = (4 * 28 * 28, 16384 * 28 * 28)
"""The limits in Qwen2-VL's and Qwen2.5-VL's checkpoints: 4 to 16384 image tokens."""


def check(
    task: Task[A],
    splits: Sequence[str],
    reader: PromptCounter | None = None,
    *,
    limit: int | None = None,
    pixels: tuple[int, int] = PIXELS,
    longest: int | None = None,
) -> CheckResult:
    """Everything that can be checked of these splits without training, the first as train split.

    ``reader`` counts the tokens of prompts, of which none may have more than ``longest``, and
    knows the limits of a picture's area; without one they are ``pixels``. ``limit`` bounds the
    samples of each split. UserError for data that the task cannot read.
    """
    if reader and reader.pixels:
        pixels = reader.pixels
    looked = [
        check_split(task, split, task.samples(split)[:limit], reader, pixels, longest)
        for split in splits
    ]
    found = Findings()
    for later, asked in looked[1:]:
        train, taught = looked[0]
        found += leaks.leaked(taught, asked, (train.split, later.split))
    return CheckResult(tuple(split for split, _ in looked), found)


def check_split(
    task: Task[A],
    split: str,
    samples: Sequence[Sample[A]],
    reader: PromptCounter | None,
    pixels: tuple[int, int],
    longest: int | None,
) -> tuple[SplitCheck, list[Fingerprint]]:
    """One split on its own, and what its samples ask."""
    pictures, found = inspection.open_pictures(samples, split)
    opened = inspection.opened(samples, pictures, pixels)
    asked = [fingerprint(one) for one in opened]
    found += leaks.shared_ids([sample.id for sample in samples]) + leaks.repeated(asked)
    found += inspection.marks_in_text(samples) + inspection.check_shapes(task, opened)
    spreads = inspection.picture_spreads(pictures.values(), opened)
    gold: dict[str, float] = {}
    if not samples:
        found += Findings((Finding("no samples"),))
    if opened and reader:
        prompts = tracked(opened, f"{split}, prompts")
        spreads["prompt tokens"], wrong = inspection.read_prompts(task, prompts, reader, longest)
        found += wrong
    if opened:
        gold, wrong = gold_answers.try_gold(task, tracked(opened, f"{split}, gold answers"))
        found += wrong + gold_answers.try_garbage(task, opened[0])
        found += gold_answers.try_elsewhere(task, opened[0])
    return SplitCheck(split, len(samples), len(pictures), spreads, gold, found), asked


def fingerprint(one: OpenedSample[A]) -> Fingerprint:
    """What a sample asks, for comparison with others."""
    pictures = tuple(picture.digest for picture in one.pictures)
    return Fingerprint(one.sample.id, leaks.text_hash(one.sample.question), pictures)
