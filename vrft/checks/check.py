"""The check of a task and its data before any training: ``vrft check``.

Every picture is opened, every prompt is counted in tokens, every gold answer is tried with the
task's own rewards and score, and splits are compared with the first one.
"""

from __future__ import annotations

from collections.abc import Sequence

from vrft.checks import constant_rewards, gold_answers, leaks
from vrft.checks.findings import Finding, Findings, SplitCheck, TaskCheck
from vrft.checks.leaks import Fingerprint
from vrft.checks.regions import check_shapes
from vrft.checks.samples import (
    PromptCounter,
    check_prompts,
    check_questions,
    open_pictures,
    opened_samples,
    picture_spreads,
    with_progress,
)
from vrft.evaluation.scoring import check_texts
from vrft.images import FACTOR
from vrft.task import Task, samples_of
from vrft.types import A, Sample

SEEN = (4 * FACTOR**2, 16384 * FACTOR**2, FACTOR)
"""How Qwen2-VL and Qwen2.5-VL see pictures: of 4 to 16384 tokens, each of 28 x 28 pixels."""


def check(
    task: Task[A],
    splits: Sequence[str],
    counter: PromptCounter | None = None,
    *,
    limit: int | None = None,
    seen: tuple[int, int, int] = SEEN,
    longest: int | None = None,
    skip: bool = False,
    portable: Task[A] | None = None,
) -> TaskCheck:
    """Check everything about these splits that needs no training; the first is the train split.

    ``counter`` counts the tokens of prompts, of which none may have more than ``longest``, and
    knows how the model sees pictures; without a counter it is ``seen``: the limits of their area
    and the side of an image token, in pixels. ``limit`` bounds the samples of each split; ``skip``
    is ``data.on_bad_picture=skip``. ``portable`` is the task as another process can have it:
    without reward functions that only this one has in memory. Raises UserError for data that the
    task cannot read.
    """
    if counter and counter.pixels:
        seen = (*counter.pixels, counter.factor)
    checked = [
        check_split(
            task,
            split,
            samples_of(task, split)[:limit],
            counter,
            seen,
            longest,
            portable or task,
            skip=skip,
        )
        for split in splits
    ]
    findings = Findings()
    for later, fingerprints in checked[1:]:
        train, learned = checked[0]
        findings += leaks.find_leaks(learned, fingerprints, (train.split, later.split))
    return TaskCheck(tuple(split for split, _ in checked), findings)


def check_split(
    task: Task[A],
    split: str,
    samples: Sequence[Sample[A]],
    counter: PromptCounter | None,
    seen: tuple[int, int, int],
    longest: int | None,
    portable: Task[A],
    *,
    skip: bool = False,
) -> tuple[SplitCheck, list[Fingerprint]]:
    """Check one split by itself; return the fingerprints of its samples for comparison too.

    ``seen`` is how the model sees pictures: the limits of their area and the side of an image token
    in pixels.
    """
    check_texts(samples, split)  # which every run and evaluation refuses
    pictures, findings = open_pictures(samples, split, skip=skip)
    # A sample with a damaged picture is reported above, and takes no part in what follows.
    opened = opened_samples(samples, pictures, seen[:2], seen[2])
    fingerprints = [Fingerprint.of(sample) for sample in opened]
    findings += leaks.find_shared_ids([sample.id for sample in samples])
    findings += leaks.find_repeated(fingerprints)
    questions = check_questions(task, samples)
    findings += questions + check_shapes(task, opened)
    refused = {name for finding in questions.problems for name in finding.ids}
    countable = [asked for asked in opened if asked.sample.id not in refused]
    spreads = picture_spreads(pictures.values(), opened)
    gold: dict[str, float] = {}
    if not samples:
        findings += Findings((Finding("no samples"),))
    if countable and counter:
        asked = with_progress(countable, f"{split}, prompts")
        spreads["prompt tokens"], faults = check_prompts(task, asked, counter, longest)
        findings += faults
    if opened:
        answered = with_progress(opened, f"{split}, gold answers")
        gold, faults = gold_answers.try_gold_answers(task, answered)
        # Both depend on the task and hardly on its data: one sample is enough.
        findings += faults + gold_answers.try_garbage(task, opened[0])
        findings += constant_rewards.find_constant(task, opened)
        findings += gold_answers.try_other_process(portable, opened[0])
    return SplitCheck(split, len(samples), len(pictures), spreads, gold, findings), fingerprints
