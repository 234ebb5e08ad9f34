"""Reward functions of TRL's signature that use all of it, by file: a worker can import them."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

import numpy as np

from vrft.errors import UserError
from vrft.types import Completion, Sample

calls = 0


def everything(
    prompts: Any,
    completions: Any,
    completion_ids: Any,
    level: Any,
    solution: Any,
    trainer_state: Any,
    log_metric: Any,
    log_extra: Any,
    **others: Any,
) -> list[Any]:
    """Log whatever was given, and return numbers of several kinds."""
    log_metric("step", trainer_state.global_step)
    log_metric("thirds", np.float32(1 / 3))
    pictures = [[p.getpixel((0, 0)) for p in images] for images in others.pop("images")]
    image = others.pop("image", None)
    given = (prompts, completions, completion_ids, level, solution, sorted(others.items()))
    without_addresses = re.sub(r" at 0x\w+", "", repr(given))
    log_extra("given", [without_addresses] * len(completions))
    log_extra("pixels", [repr(pictures), repr(image and image[0].getpixel((0, 0)))])
    return [np.float32(0.1), 1 / 3]


def pixels(completions: Any, images: Any) -> list[float]:
    return [float(np.asarray(pictures[0]).sum()) / 7 for pictures in images]


def prompt_pictures(prompts: Any, completions: Any) -> list[float]:
    parts = prompts[0][-1]["content"]
    return [float(sum(part["type"] == "image" for part in parts))] * len(completions)


def texts(completions: Any) -> list[float]:
    return [float(isinstance(completion, str)) for completion in completions]


async def later(completions: Any, **columns: Any) -> list[float | None]:
    await asyncio.sleep(0)
    return [None, 2.0]


def drawn(completions: Any, **columns: Any) -> list[float]:
    return [random.random() + np.random.rand() for _ in completions]


def counted(completions: Any, **columns: Any) -> list[float]:
    global calls
    calls += 1
    return [float(calls)] * len(completions)


def mistaken(completions: Any, log_metric: Any) -> list[float]:
    log_metric("length", "long")
    return [0.0] * len(completions)


def refusing(completions: Any) -> list[float]:
    raise UserError("no such file; make it")


def own(sample: Sample[Any], completion: Completion) -> float:
    """A reward of a task file: the share of the answer's letters."""
    return len(completion.text) / (1 + len(str(sample.answer)))
