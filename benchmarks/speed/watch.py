"""What is seen of a step from outside, on both sides by the same means."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

PARTS = ("preprocessing", "rollout", "forward", "backward", "optimizer")
"""Image processor; sampling; log-probabilities and loss; its backward; the optimizer."""


@dataclass(frozen=True)
class Step:
    """Seconds of one optimizer step and of its PARTS, and how often it came to each of them."""

    whole: float
    parts: Mapping[str, float]
    calls: Mapping[str, int]


class Clock:
    """Adds up the seconds of a step's parts; ``part`` is the one that is running, "" for none."""

    def __init__(self) -> None:
        self.part = ""
        self.start()

    def start(self) -> None:
        """A step begins."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.calls = dict.fromkeys(PARTS, 0)
        self.started = now()

    def stop(self) -> Step:
        """The step is over."""
        return Step(now() - self.started, self.seconds, self.calls)

    def enter(self, part: str) -> tuple[str, float]:
        """A part begins; the result is for ``leave``."""
        outer, self.part = self.part, part
        self.calls[part] += 1
        return outer, now()

    def leave(self, entered: tuple[str, float]) -> None:
        """The part that was entered is over."""
        outer, started = entered
        self.seconds[self.part] += now() - started
        self.part = outer

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """A part of the step."""
        entered = self.enter(part)
        try:
            yield
        finally:
            self.leave(entered)

    def timed(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """The function, its calls being that part of the step."""

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.during(part):
                return function(*args, **kwargs)

        return call


def now() -> float:
    """Seconds on a clock, when the device has done all it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def forget() -> None:
    """Give back the memory of what is no more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Watched:
    """A contestant seen from outside: the model and what it is trained with.

    ``model`` is the transformers model, ``processor`` its processor, ``prepared`` how many pictures
    that has prepared. ``gradient`` is a copy of the last update's, on the CPU,
    if ``keep_gradient`` is set; ``counts`` is what passed the weights while it was counted.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor, self.clock = model, processor, Clock()
        self.keep_gradient = False
        self.gradient: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()
        self.prepared = 0
        if self.sees:
            # In its class: an attribute of its own would count as one of the processor's settings.
            pictures, kind = processor.image_processor, type(processor.image_processor)
            counted = staticmethod(self.counted(pictures.preprocess))
            pictures.__class__ = type(kind.__name__, (kind,), {"preprocess": counted})

    @property
    def sees(self) -> bool:
        """Whether the model reads pictures."""
        return hasattr(self.processor, "image_processor")

    @property
    def language_model(self) -> torch.nn.Module:
        """The decoder."""
        return self.model.model.language_model if self.sees else self.model.model  # type: ignore[no-any-return]

    def counted(self, preprocess: Callable[P, Any]) -> Callable[P, Any]:
        """The preprocessing of pictures, timed and counted."""

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            with self.clock.during("preprocessing"):
                out = preprocess(*args, **kwargs)
            self.prepared += len(out["image_grid_thw"])
            return out

        return call

    def watch_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Time its steps, and keep the gradients that it reads."""
        entered: list[tuple[str, float]] = []

        def before(*_: Any) -> None:
            if self.keep_gradient:
                named = self.model.named_parameters()
                self.gradient = {k: p.grad.cpu().clone() for k, p in named if p.grad is not None}
            entered.append(self.clock.enter("optimizer"))

        def after(*_: Any) -> None:
            self.clock.leave(entered.pop())

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)

    def watch_backward(self, accelerator: Any) -> None:
        """Time its backward passes."""
        accelerator.backward = self.clock.timed("backward", accelerator.backward)
