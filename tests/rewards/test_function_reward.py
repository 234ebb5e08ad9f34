"""Reward functions written for TRL: whole groups, every argument, columns, and their errors."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vrft import rewards
from vrft.errors import UserError
from vrft.rewards import FunctionReward
from vrft.rewards.trl import RewardLog, TrainerState
from vrft.types import Completion, Group, Prompt, Rollout, Sample

SAMPLE = Sample("s1", "How many?", 3)
ROW = Sample("r1", "How many?", 3, subset="easy", columns={"q": "How many?", "level": 2})
PROMPT = Prompt("How many?", system="Count.")


def exact(sample: Sample[int], completion: Completion) -> float:
    return float(f"<answer>{sample.answer}</answer>" in completion.text)


def group_of(*texts: str, sample: Sample[Any] = ROW, prompt: Prompt = PROMPT) -> Group[Any]:
    """Return a group whose completions have as many tokens as letters."""
    rollouts = [Rollout(Completion(text), tuple(map(ord, text)), True) for text in texts]
    return Group(sample, prompt, tuple(rollouts))


def call(function: Any, *texts: str, **options: Any) -> tuple[list[Any], RewardLog]:
    """Return the rewards that a function gives to a group of texts, and what it logged."""
    reward: FunctionReward[Any] = FunctionReward(function, "mine", **options)
    log = RewardLog(len(texts))
    return reward.of_group(group_of(*texts), TrainerState(global_step=7), log), log


def trl_accuracy(
    completions: list[list[dict[str, str]]], solution: list[str], **kwargs: Any
) -> list[float | None]:
    """Reward the answer in the way that people write rewards for TRL."""
    found = [re.search(r"<answer>(.*?)</answer>", c[0]["content"]) for c in completions]
    return [None if m is None else float(m[1] == s) for m, s in zip(found, solution, strict=True)]


def test_a_reward_written_for_trl_runs_unchanged() -> None:
    reward = rewards.from_trl(trl_accuracy, lambda sample: {"solution": str(sample.answer)})
    assert reward(SAMPLE, Completion("<answer>3</answer>")) == 1.0
    assert reward(SAMPLE, Completion("<answer>4</answer>")) == 0.0
    assert reward(SAMPLE, Completion("three")) is None


def test_a_trl_reward_on_plain_strings_runs_unchanged() -> None:
    def length(completions: list[str], **kwargs: Any) -> list[float]:
        return [float(len(text)) for text in completions]

    reward = rewards.from_trl(length, lambda sample: {}, conversational=False)
    assert reward(SAMPLE, Completion("four")) == 4.0


def test_export_and_import_cancel_out() -> None:
    exported = rewards.to_trl("exact", exact, [SAMPLE])
    again = rewards.from_trl(exported, lambda sample: {"sample_id": sample.id})
    for text in ("<answer>3</answer>", "<answer>5</answer>"):
        assert again(SAMPLE, Completion(text)) == exact(SAMPLE, Completion(text))


def test_a_function_gets_whole_groups_and_every_argument_of_trl() -> None:
    seen: dict[str, Any] = {}

    def reward(
        prompts: Any,
        completions: Any,
        completion_ids: Any,
        level: Any,
        solution: Any,
        trainer_state: Any,
        log_metric: Any,
        log_extra: Any,
        **others: Any,
    ) -> list[float]:
        seen.update(prompts=prompts, completions=completions, ids=completion_ids, level=level)
        seen.update(solution=solution, step=trainer_state.global_step, others=sorted(others))
        log_metric("length", 1.5)
        log_extra("letters", [len(c[0]["content"]) for c in completions])
        return [0.0, 1.0]

    values, log = call(reward, "ab", "c")
    assert values == [0.0, 1.0]
    messages = [{"role": "system", "content": "Count."}, {"role": "user", "content": "How many?"}]
    assert seen == {
        "prompts": [messages, messages],
        "completions": [[{"role": "assistant", "content": text}] for text in ("ab", "c")],
        "ids": [[97, 98], [99]],
        "level": [2, 2],
        "solution": [3, 3],
        "step": 7,
        "others": ["answer", "images", "q", "question", "sample_id", "subset"],
    }
    assert log.metrics == {"length": [1.5]}
    assert log.columns == {"letters": [2, 1]}


def test_a_function_without_kwargs_gets_what_it_names() -> None:
    def reward(completions: Any, level: Any, scale: float = 0.5) -> list[float]:
        return [scale * value for value in level]

    assert call(reward, "a", "b")[0] == [1.0, 1.0]


async def slow(completions: Any, **columns: Any) -> list[float]:
    await asyncio.sleep(0)
    return [float(len(c[0]["content"])) for c in completions]


class Slow:
    """An object whose call is asynchronous."""

    async def __call__(self, completions: Any, **columns: Any) -> list[float]:
        return await slow(completions)


def deferred(completions: Any, **columns: Any) -> Awaitable[list[float]]:
    """Return what can be awaited, without being a coroutine function."""
    return slow(completions)


@pytest.mark.parametrize("function", [slow, Slow(), deferred])
def test_asynchronous_functions_are_awaited(function: Any) -> None:
    assert call(function, "a", "bc")[0] == [1.0, 2.0]

    async def inside() -> list[Any]:  # as in a notebook, where a loop is running already
        return call(function, "a", "bc")[0]

    assert asyncio.run(inside()) == [1.0, 2.0]


def test_all_calls_share_one_event_loop() -> None:
    loops = []

    async def remember(completions: Any, **columns: Any) -> list[float]:
        loops.append(asyncio.get_running_loop())
        return [0.0]

    call(remember, "a")
    call(remember, "b")
    assert loops[0] is loops[1]


@pytest.mark.parametrize(
    "values", [[0.0, 1.0], (0.0, 1.0), np.array([0.0, 1.0]), torch.tensor([0.0, 1.0])]
)
def test_a_function_may_return_any_list(values: Any) -> None:
    given = call(lambda completions: values, "a", "b")[0]
    assert [float(value) for value in given] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # too many or too few for one completion, and none at all
        ([1.0, 0.0], "expected a list of 1 value(s), one for each completion, got 2 values, [1.0"),
        ([], "got 0 values, [] of type list"),
        (np.zeros(3), "got 3 values, array("),
        # no lists
        (0.5, "got 0.5 of type float"),
        (None, "got None of type NoneType"),
        ("1", "got '1' of type str"),
        ({"a": 1}, "of type dict"),
        ({1.0}, "of type set"),
        (np.zeros((1, 1)), "of type ndarray"),
        (torch.tensor(1.0), "of type Tensor"),
    ],
)
def test_another_number_of_values_is_refused_by_the_rewards_name(values: Any, message: str) -> None:
    def accuracy(completions: Any, **columns: Any) -> Any:
        return values

    reward = rewards.from_trl(accuracy)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        reward(SAMPLE, Completion("x"))
    assert str(caught.value).startswith("reward 'accuracy', sample 's1': ")


def test_a_column_that_the_row_lacks_is_refused_by_name() -> None:
    def reward(completions: Any, difficulty: Any) -> list[float]:
        return [0.0]

    with pytest.raises(UserError, match="'mine' needs the column 'difficulty', which sample 'r1'"):
        call(reward, "a")


def test_a_raw_prompt_has_texts_and_a_prefill_opens_a_message() -> None:
    seen: list[Any] = []

    def reward(prompts: Any, completions: Any) -> list[float]:
        seen.append((prompts, completions))
        return [0.0]

    mine: FunctionReward[Any] = FunctionReward(reward, "mine")
    for raw in (True, False):
        prompt = Prompt("Why?", prefill="<think>", raw=raw)
        mine.of_group(group_of("so", prompt=prompt), TrainerState(), RewardLog(1))
    assert seen[0] == (["Why?<think>"], ["so"])
    assert seen[1][1] == [[{"role": "assistant", "content": "<think>so"}]]


MESSAGES = [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        ({"prompt": "Why?", "solution": "red"}, True),
        ({"prompt": MESSAGES, "solution": "red"}, False),
        # messages in a cell of CSV
        ({"prompt": '[{"role": "user", "content": "Why?"}]'}, False),
        ({"question": "Why?", "answer": "red"}, False),
        ({"prompt": None, "question": "Why?"}, False),
        ({}, False),
    ],
)
def test_a_function_gets_texts_where_the_rows_own_prompt_is_a_text_as_in_trl(
    columns: dict[str, Any], texts: bool
) -> None:
    seen: list[Any] = []

    def reward(prompts: Any, completions: Any) -> list[float]:
        seen.append((prompts[0], completions[0]))
        return [0.0]

    sample = Sample("r1", "Why?", "red", columns=columns)
    group = group_of("so", sample=sample, prompt=Prompt("Why? Think."))
    FunctionReward(reward, "mine").of_group(group, TrainerState(), RewardLog(1))
    messages = [{"role": "user", "content": "Why? Think."}]
    said = [{"role": "assistant", "content": "so"}]
    assert seen == [("Why? Think.", "so") if texts else (messages, said)]


def test_rewards_of_a_group_call_a_function_once() -> None:
    sizes: list[int] = []

    def reward(completions: Sequence[Any]) -> list[float | None]:
        sizes.append(len(completions))
        return [None, *[1.0] * (len(completions) - 1)]

    assert call(reward, "a", "b", "c")[0] == [None, 1.0, 1.0]
    assert sizes == [3]


def failing(completions: Any, **columns: Any) -> list[float]:
    return [1 / len(completion[0]["content"]) for completion in completions]


async def failing_later(completions: Any, **columns: Any) -> list[float]:
    await asyncio.sleep(0)
    return failing(completions, **columns)


@pytest.mark.parametrize("function", [failing, failing_later])
def test_an_exception_of_a_function_keeps_its_traceback_and_names_reward_and_sample(
    function: Any,
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        call(function, "a", "")
    shown = traceback.format_exception(caught.value)
    assert 'return [1 / len(completion[0]["content"])' in "".join(shown)
    assert shown[-1] == "in reward 'mine', sample 'r1'\n"


def test_a_mistake_in_what_a_function_logs_names_reward_and_sample() -> None:
    def reward(completions: Any, log_metric: Any) -> list[float]:
        log_metric("length", "long")
        return [0.0]

    with pytest.raises(UserError, match=r"^reward 'mine', sample 'r1': log_metric\('length'\): "):
        call(reward, "a")


def test_pictures_are_given_as_pillow_has_them(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png")
    columns = {"image": "a.png"}  # as the row writes it
    sample = Sample("r1", "Which?", 3, (tmp_path / "a.png",), columns=columns)
    seen: list[Any] = []

    def named(completions: Any, images: Any, image: Any) -> list[float]:
        seen.extend([images, image])
        return [0.0, 1.0]

    def taken(completions: Any, **columns: Any) -> list[float]:
        seen.extend([columns["images"], columns["image"]])
        return [0.0, 1.0]

    for function in (named, taken):
        seen.clear()
        reward: FunctionReward[Any] = FunctionReward(function, "mine")
        reward.of_group(group_of("a", "b", sample=sample), TrainerState(), RewardLog(2))
        images, image = seen
        assert [len(images), len(image)] == [2, 2]
        assert all(p.getpixel((0, 0)) == (255, 0, 0) for p in (images[1][0], image[1]))


def test_no_picture_is_opened_for_a_function_that_reads_none(tmp_path: Path) -> None:
    sample = Sample("r1", "Which?", 3, (tmp_path / "gone.png",))
    group = group_of("a", sample=sample)

    def blind(completions: Any, **columns: Any) -> list[float]:
        return [float("images" in columns)]

    def seeing(completions: Any, images: Any) -> list[float]:
        return [0.0]

    reward: FunctionReward[Any] = FunctionReward(blind, "mine")
    assert reward.of_group(group, TrainerState(), RewardLog(1)) == [1.0]
    with pytest.raises(UserError, match=r"gone\.png"):
        FunctionReward(seeing, "mine").of_group(group, TrainerState(), RewardLog(1))


def test_a_picture_is_no_single_one_where_there_are_several() -> None:
    def reward(completions: Any, image: Any) -> list[float]:
        return [0.0]

    pair = Sample("r1", "Which?", 3, (Path("a.png"), Path("b.png")))
    with pytest.raises(UserError, match="needs the column 'image', which sample 'r1' has not"):
        FunctionReward(reward, "mine").check(pair)
