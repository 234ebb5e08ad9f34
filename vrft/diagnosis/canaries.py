"""Canaries: trials of some seconds before the first update of a run, each of which can be read.

They ask whether the model sees its pictures, whether the policy that samples is the one that
learns, whether prompts in a batch stay apart, whether answers differ and end, and whether the gold
answer earns what the run trains for. Nothing that the run computes depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vrft.boxes import iou
from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.coordinates import box_in, corners_of
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.policy import Policy
from vrft.rewards import rewards_of
from vrft.rewards.metric_names import rewards_form
from vrft.rewards.rewarded_task import TaskWithRewards
from vrft.task import Task
from vrft.types import Completion, Rollout, Sample, View

PROMPTS, ANSWERS = 2, 4
"""Prompts of each device that are tried, and answers drawn to each."""
TOKENS = 256
"""Tokens of an answer that is drawn, at most: a trial takes seconds."""
DECODED = 32
"""Tokens of an answer whose log-probabilities are compared with those of decoding."""

LIMITS = {True: 1e-3, False: 0.1}
"""Mean difference of log-probabilities that rounding explains, in float32 and in less."""
SEEN = 1e-6
"""A blank picture that changes every log-probability by less changes nothing."""
FULL, ROUNDED = 1.0, 0.95
"""The highest value of a task's reward, and what rounding a small box may leave of it."""


@dataclass(frozen=True)
class Measured:
    """Log-probabilities [b, G, C] of answers on the CPU: as trained, and in other ways.

    ``blanked`` are those with blank pictures, ``alone`` [C] those of each prompt's first answer by
    itself, ``decoded`` [b, G, c] those of decoding, None where that is not to be compared.
    """

    logps: Tensor
    blanked: Tensor
    alone: Sequence[Tensor]
    decoded: Tensor | None = None


@torch.no_grad()
def measure(
    policy: Policy,
    encoded: Sequence[Any],
    groups: Sequence[Sequence[Rollout]],
    temperature: float,
) -> Measured:
    """Return the trainer's log-probabilities of answers, also with blank pictures and alone.

    Every device makes equally many forwards, with pictures or without.
    """
    module, training = policy.module, policy.module.training
    module.eval()
    logps = policy.logps(encoded, groups, temperature).cpu()
    blanked = policy.logps([blank(prompt) for prompt in encoded], groups, temperature).cpu()
    alone = [
        policy.logps([prompt], [group[:1]], temperature)[0, 0].cpu()
        for prompt, group in zip(encoded, groups, strict=True)
    ]
    module.train(training)
    return Measured(logps, blanked, alone)


def blank(encoded: Any) -> Any:
    """Return a prompt with pictures of the same size in the middle grey; one without as it is."""
    if not isinstance(encoded, Encoded) or not encoded.pictures:
        return encoded
    pictures = tuple(
        # A key of its own: features are remembered by it.
        replace(picture, key=b"blank" + picture.key, patches=torch.zeros_like(picture.patches))
        for picture in encoded.pictures
    )
    return replace(encoded, pictures=pictures)


def has_picture(encoded: Any) -> bool:
    """Return whether a prompt has a picture that is not as grey as a blank one."""
    pictures = encoded.pictures if isinstance(encoded, Encoded) else ()
    return any(float(picture.patches.abs().max()) > 1e-3 for picture in pictures)


def mask_of(groups: Sequence[Sequence[Rollout]], length: int) -> Tensor:
    """Return [b, G, length], true at the tokens of the answers."""
    lengths = torch.tensor([[len(rollout.tokens) for rollout in group] for group in groups])
    return torch.arange(length) < lengths.unsqueeze(-1)


def logps_finite(groups: Sequence[Sequence[Rollout]], measured: Measured) -> list[Alarm]:
    """Return an alarm where a token has no log-probability, so that nothing can be compared."""
    mask = mask_of(groups, measured.logps.shape[2])
    lost = int((~torch.isfinite(measured.logps) & mask).any(-1).sum())
    if not lost:
        return []
    text = (
        f"{lost} of {mask.any(-1).sum()} answers have log-probabilities that are not finite: the "
        "model's numbers overflow, or its weights are damaged; try model.dtype=float32, and look "
        "whether the checkpoint answers in plain transformers"
    )
    return [Alarm("logps_not_finite", text, fatal=True)]


def pictures_seen(
    encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], measured: Measured
) -> list[Alarm]:
    """Return an alarm where blanking the pictures changes no log-probability of any answer."""
    rows = [row for row, prompt in enumerate(encoded) if has_picture(prompt)]
    if not rows:
        return []
    mask = mask_of(groups, measured.logps.shape[2])
    change = ((measured.logps - measured.blanked).abs() * mask)[rows].max()
    if not float(change) <= SEEN:  # true for NaN, which says nothing of pictures
        return []
    text = (
        f"blanking the pictures of {len(rows)} prompt(s) changes no log-probability of their "
        "answers: the model does not see them; look whether model.name is a vision model with the "
        "processor and chat template of its own release"
    )
    return [Alarm("pictures_unseen", text, fatal=True)]


def engines_agree(
    groups: Sequence[Sequence[Rollout]], measured: Measured, limit: float
) -> list[Alarm]:
    """Return an alarm where decoding gives its own tokens other log-probabilities than training."""
    if measured.decoded is None:
        return []
    length = measured.decoded.shape[2]
    mask = mask_of(groups, length)
    mean = float((measured.decoded - measured.logps[..., :length]).abs()[mask].mean())
    if mean <= limit:  # false for NaN
        return []
    text = (
        f"decoding and training differ by {mean:.2g} a token in their log-probabilities (at most "
        f"{limit:g} is rounding): the policy that samples is not the one that learns; try "
        "model.dtype=float32, then model.shared_prefix=false, and report it"
    )
    return [Alarm("sampler_differs", text, fatal=True)]


def batch_agrees(
    groups: Sequence[Sequence[Rollout]], measured: Measured, limit: float
) -> list[Alarm]:
    """Return an alarm where an answer by itself has other log-probabilities than in the batch."""
    differences = []
    for row, (group, alone) in enumerate(zip(groups, measured.alone, strict=True)):
        length = len(group[0].tokens)
        differences.append((measured.logps[row, 0, :length] - alone[:length]).abs())
    mean = float(torch.cat(differences).mean())
    if mean <= limit:
        return []
    text = (
        f"an answer by itself and the same in a batch differ by {mean:.2g} a token in their "
        f"log-probabilities (at most {limit:g} is rounding): prompts mix with each other; try "
        "model.shared_prefix=false, then train.per_device_train_batch_size=1 with more "
        "train.gradient_accumulation_steps, and report it"
    )
    return [Alarm("batch_differs", text, fatal=True)]


def answers_differ(groups: Sequence[Sequence[Rollout]], temperature: float) -> list[Alarm]:
    """Return an alarm where all answers to each prompt are alike."""
    if any(len({rollout.tokens for rollout in group}) > 1 for group in groups):
        return []
    text = (
        f"all {len(groups[0])} answers to each of the first {len(groups)} prompt(s) are alike at "
        f"sampling.temperature={temperature:g}: groups without differences teach nothing; raise "
        "it, take sampling.top_p and top_k out, or begin with a model that is less certain"
    )
    return [Alarm("answers_alike", text)]


def answers_end(groups: Sequence[Sequence[Rollout]], limit: int) -> list[Alarm]:
    """Return an alarm where not one answer ended within the ``limit`` of the run.

    Nothing is said where the answers were cut at TOKENS, before the limit.
    """
    if limit > TOKENS or any(rollout.finished for group in groups for rollout in group):
        return []
    text = (
        f"no answer to the first {len(groups)} prompt(s) ended by itself within {limit} tokens; "
        "raise sampling.max_completion_length, or look whether generation_config.json names the "
        "token with which the model ends its turns"
    )
    return [Alarm("answers_endless", text)]


def gold_answers(
    task: Task[Any], samples: Sequence[Sample[Any]], views: Sequence[tuple[View, ...]]
) -> list[Alarm]:
    """Return the alarms of gold answers, for which a model need not answer anything."""
    return [*gold_earns(task, samples, views), *gold_fits_space(task, samples, views)]


def gold_earns(
    task: Task[Any], samples: Sequence[Sample[Any]], views: Sequence[tuple[View, ...]]
) -> list[Alarm]:
    """Return an alarm for the first gold answer that does not earn full reward.

    It is fatal where the answer earns nothing: then nothing right can be learnt. Rewards beside the
    task's own, which may be punishments, are left out, and so is the reward of the form.
    """
    own = task.task if isinstance(task, TaskWithRewards) else task
    for sample, seen in zip(samples, views, strict=True):
        text = own.reference(sample, seen)
        where = f"sample {sample.id!r}: its gold answer {text!r:.60}"
        try:
            earned = rewards_of(own, sample, Completion(text, seen))
        except UserError as error:
            return [Alarm("gold_answer", f"{where} has no reward ({error})")]
        values = {name: value for name, value in earned.items() if value is not None}
        answer = [value for name, value in values.items() if not rewards_form(name)]
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        if answer and max(answer) <= 0:
            complaint = "earns nothing, so that right answers are not rewarded"
            remedy = "look with `vrft check` how it is read, and at task.coordinates for boxes"
            return [Alarm("gold_answer", f"{where} {complaint} ({shown}); {remedy}", fatal=True)]
        if values and min(values.values()) < ROUNDED * FULL:
            remedy = "look with `vrft check`; where a reward counts lengths, this may be meant"
            return [Alarm("gold_answer", f"{where} earns less than 1 ({shown}); {remedy}")]
    return []


def gold_fits_space(
    task: Task[Any], samples: Sequence[Sample[Any]], views: Sequence[tuple[View, ...]]
) -> list[Alarm]:
    """Return an alarm where the gold box is not written in the coordinates of the model's family.

    Only answers with one box in one picture are looked at.
    """
    for sample, seen in zip(samples, views, strict=True):
        truth, corners = task.boxes(sample), None
        if len(truth) == 1 and len(seen) == 1:
            corners = corners_of(task.reference(sample, seen))
        if corners is None:
            continue
        box = box_in(seen[0].space, corners, seen[0])
        if box is None or iou(box, truth[0]) < 0.5:
            text = (
                f"sample {sample.id!r}: its gold box {list(corners)} is not written in "
                f"{seen[0].space}, which the model's family writes; set "
                f"task.coordinates={seen[0].space}, or keep what is set where the model was taught "
                "so"
            )
            return [Alarm("coordinate_space", text)]
    return []
