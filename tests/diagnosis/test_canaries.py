"""Canaries: each fault is told from the healthy case by one line that names what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fakes.bigram import Echo

from vrft.boxes import Box
from vrft.diagnosis import canaries
from vrft.diagnosis.canaries import Measured
from vrft.models.encoding import Encoded
from vrft.models.vision_features import PatchedPicture
from vrft.rewards import follows_format, with_rewards
from vrft.task import Reward
from vrft.types import Completion, Rollout, Sample, View

VIEW = View(200, 100, "thousandths")


def rollout(tokens: Sequence[int], finished: bool = True) -> Rollout:
    return Rollout(Completion("".join(map(str, tokens))), tuple(tokens), finished)


GROUPS = [(rollout([1, 2, 3]), rollout([4])), (rollout([5, 6]), rollout([7, 8]))]
LOGPS = torch.tensor([[[-1.0, -2, -3], [-4, 0, 0]], [[-1, -2, 0], [-3, -4, 0]]])


def measured(**changed: Any) -> Measured:
    alone = [LOGPS[0, 0], LOGPS[1, 0, :2]]
    return Measured(**({"logps": LOGPS, "blanked": LOGPS + 0.1, "alone": alone} | changed))


def encoded(*patches: float) -> Encoded:
    pictures = tuple(
        PatchedPicture(b"p", torch.full((4, 2), value), torch.tensor([[1, 2, 2]]))
        for value in patches
    )
    return Encoded(torch.tensor([1]), torch.tensor([[0]]), pictures, (VIEW,) * len(patches))


def test_a_blank_picture_has_another_key_and_the_same_size() -> None:
    prompt = encoded(0.5)
    blank = canaries.blank(prompt)
    assert blank.pictures[0].key != prompt.pictures[0].key
    assert blank.pictures[0].patches.shape == (4, 2) and not blank.pictures[0].patches.any()
    assert canaries.blank(encoded()) == encoded() or not canaries.blank(encoded()).pictures
    assert canaries.blank(7) == 7  # a prompt of another policy


@pytest.mark.parametrize(
    ("prompts", "blanked", "alarm"),
    [
        ([encoded(0.5), encoded()], LOGPS, True),
        ([encoded(0.5), encoded()], LOGPS + 1e-3, False),
        # the change lies behind the end of an answer, where there is no token
        ([encoded(0.5), encoded()], LOGPS + torch.tensor([0, 0, 1.0]) * (LOGPS == 0), True),
        # only the prompt without a picture changes
        ([encoded(0.5), encoded()], LOGPS + torch.tensor([[[0.0]], [[1.0]]]), True),
        # nothing to see: no picture, or one that is as grey as the blank one
        ([encoded(), encoded()], LOGPS, False),
        ([encoded(0.0), encoded()], LOGPS, False),
        ([1, 2], LOGPS, False),
    ],
)
def test_pictures_that_change_nothing_are_not_seen(
    prompts: list[Any], blanked: torch.Tensor, alarm: bool
) -> None:
    found = canaries.pictures_seen(prompts, GROUPS, measured(blanked=blanked))
    assert [one.name for one in found] == ["pictures_unseen"] * alarm
    assert all(one.fatal and "model.name" in one.text for one in found)


def test_log_probabilities_that_are_not_finite_are_called_so_and_nothing_else() -> None:
    assert canaries.logps_finite(GROUPS, measured()) == []
    lost = LOGPS.clone()
    lost[0, 0, 0] = torch.nan
    unknown = measured(logps=lost, blanked=lost)
    (alarm,) = canaries.logps_finite(GROUPS, unknown)
    assert alarm.fatal and alarm.name == "logps_not_finite"
    assert alarm.text.startswith("1 of 4 answers have log-probabilities that are not finite")
    assert canaries.pictures_seen([encoded(0.5), encoded()], GROUPS, unknown) == []
    # behind the end of an answer there is no token
    behind = torch.where(LOGPS == 0, torch.nan, LOGPS)
    assert canaries.logps_finite(GROUPS, measured(logps=behind)) == []


def test_decoding_that_differs_from_training_is_fatal() -> None:
    near = LOGPS[..., :2] + torch.tensor(1e-4)
    assert canaries.engines_agree(GROUPS, measured(decoded=None), 1e-3) == []
    assert canaries.engines_agree(GROUPS, measured(decoded=near), 1e-3) == []
    for wrong in (LOGPS[..., :2] + 0.1, LOGPS[..., :2] * torch.nan):
        (alarm,) = canaries.engines_agree(GROUPS, measured(decoded=wrong), 1e-3)
        assert alarm.fatal and alarm.name == "sampler_differs"
        assert "model.shared_prefix=false" in alarm.text


def test_an_answer_by_itself_that_differs_from_the_batch_is_fatal() -> None:
    assert canaries.batch_agrees(GROUPS, measured(), 1e-3) == []
    other = [LOGPS[0, 0], LOGPS[1, 0, :2] + 0.1]
    (alarm,) = canaries.batch_agrees(GROUPS, measured(alone=other), 1e-3)
    assert alarm.fatal and alarm.name == "batch_differs"
    assert "train.per_device_train_batch_size=1" in alarm.text


def test_answers_that_are_all_alike_are_warned_of() -> None:
    alike = [(rollout([1]), rollout([1])), (rollout([2]), rollout([2]))]
    assert canaries.answers_differ([alike[0], GROUPS[1]], 1.0) == []
    (alarm,) = canaries.answers_differ(alike, 0.1)
    assert not alarm.fatal and "sampling.temperature=0.1" in alarm.text


def test_answers_that_never_end_are_warned_of_where_the_limit_was_reached() -> None:
    cut = [(rollout([1], False), rollout([2], False))]
    (alarm,) = canaries.answers_end(cut, 16)
    assert not alarm.fatal and "sampling.max_completion_length" in alarm.text
    assert canaries.answers_end([*cut, GROUPS[0]], 16) == []
    assert canaries.answers_end(cut, canaries.TOKENS + 1) == []  # the canary itself cut them


@dataclass(frozen=True)
class Gold(Echo):
    """A task whose gold answer earns ``value``, keeps the form or not, and is a box or none."""

    value: float | None = 1.0
    text: str = "<think>it</think><answer>(100,200),(300,400)</answer>"

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return self.text

    def rewards(self) -> Mapping[str, Reward[str]]:
        # A format reward of its own, as tasks have that read several forms.
        return {"right": lambda s, c: self.value, "format": lambda s, c: follows_format(s, c)}

    def boxes(self, sample: Sample[str]) -> tuple[Box, ...]:
        return (Box(0.1, 0.2, 0.3, 0.4),)


SAMPLE = [Sample("s1", "Which?", "a")]


@pytest.mark.parametrize(
    ("task", "said", "fatal"),
    [
        (Gold(), None, False),
        (Gold(value=0.96), None, False),  # a small box, rounded
        (Gold(value=2.0), None, False),  # a published reward of another range
        (Gold(value=None), None, False),  # no reward applies but that of the form
        (Gold(value=0.5), "earns less than 1 (right 0.5, format 1)", False),
        (Gold(text="(1,2)"), "earns less than 1 (right 1, format 0)", False),
        (Gold(value=0.0), "earns nothing", True),
        (Gold(value=float("nan")), "has no reward", False),
        # a punishment beside the task's own rewards may be below zero
        (with_rewards(Gold(), {"brief": lambda s, c: -3.0}), None, False),
    ],
)
def test_the_gold_answer_must_earn_what_the_run_trains_for(
    task: Any, said: str | None, fatal: bool
) -> None:
    found = canaries.gold_earns(task, SAMPLE, [(VIEW,)])
    assert [one.fatal for one in found] == [fatal] * (said is not None)
    assert all(said in one.text and "'s1'" in one.text for one in found if said)


def test_a_gold_box_in_another_space_than_the_models_is_warned_of() -> None:
    # (0.1, 0.2) to (0.3, 0.4) are (100,200),(300,400) in thousandths, (20,20),(60,40) in pixels
    assert canaries.gold_fits_space(Gold(), SAMPLE, [(VIEW,)]) == []
    pixels = View(200, 100, "pixels")
    (alarm,) = canaries.gold_fits_space(Gold(), SAMPLE, [(pixels,)])
    assert "not written in pixels" in alarm.text and "set task.coordinates=pixels" in alarm.text
    right = Gold(text="<think>it</think><answer>(20,20),(60,40)</answer>")
    assert canaries.gold_fits_space(right, SAMPLE, [(pixels,)]) == []
    assert canaries.gold_fits_space(Echo(), SAMPLE, [()]) == []
