"""A contestant of the race, timed and recorded from outside, on both sides by the same means."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")

PARTS = ("preprocessing", "rollout", "forward", "backward", "optimizer")
"""Image processor; sampling; log-probabilities; their backward pass; the optimizer."""

TokenIds = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Seconds of one optimizer step and of its PARTS, and how often the step came to each part."""

    whole: float
    parts: Mapping[str, float]
    calls: Mapping[str, int]


class Clock:
    """A stopwatch for the parts of a step, which may lie within each other."""

    def __init__(self) -> None:
        self.running: list[tuple[str, float]] = []
        self.start()

    @property
    def part(self) -> str:
        """Return the innermost part that is running, "" for none."""
        return self.running[-1][0] if self.running else ""

    def start(self) -> None:
        """Begin a step."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.calls = dict.fromkeys(PARTS, 0)
        self.started = now()

    def stop(self) -> Step:
        """End the step and return its times."""
        return Step(now() - self.started, self.seconds, self.calls)

    def enter(self, part: str) -> None:
        """Begin a part of the step."""
        self.calls[part] += 1
        self.running.append((part, now()))  # last, so that nothing of the clock's own is counted

    def leave(self) -> None:
        """End the part that was begun last."""
        part, started = self.running.pop()
        self.seconds[part] += now() - started

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Count the time within as that part of the step, and as the part around it as well."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def timed(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with all of its calls counted as that part."""

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.during(part):
                return function(*args, **kwargs)

        return call


def now() -> float:
    """Return seconds, once the device has finished all that it was told to do."""
    if torch.cuda.is_available():
        # kernels run behind the host: a clock that does not wait times their launches only
        torch.cuda.synchronize()
    return time.perf_counter()


def forget() -> None:
    """Give the memory of deleted objects back to the device."""
    # trainers and accelerators hold each other in circles
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass
class Record:
    """The outcome of one step of a contestant; tensors lie on the CPU.

    ``completions`` are token ids by the token ids of their prompt, ``logps`` [C] the
    log-probabilities of a completion by its token ids, ``gradient`` that of the update by
    parameter, and ``counts`` how many tokens, patches and pictures passed the weights (see
    ``counters``).
    """

    completions: dict[TokenIds, list[TokenIds]] = field(default_factory=dict)
    logps: dict[TokenIds, Tensor] = field(default_factory=dict)
    gradient: dict[str, Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def prompt(self) -> int:
        """Return the tokens of the longest prompt, image tokens included."""
        return max(map(len, self.completions))


class Contestant:
    """A model and its trainer, with hooks that time every part of a step.

    ``preprocessed`` counts the pictures that passed the image processor. While ``record`` is not
    None, the step that is taken writes into it.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor, self.clock = model, processor, Clock()
        self.record: Record | None = None
        self.preprocessed = 0
        if self.has_vision:
            # In its class: an attribute of its own would be saved as a setting of the processor.
            images, kind = processor.image_processor, type(processor.image_processor)
            preprocess = staticmethod(self.count_pictures(images.preprocess))
            images.__class__ = type(kind.__name__, (kind,), {"preprocess": preprocess})

    @property
    def has_vision(self) -> bool:
        """Tell whether the model reads pictures."""
        return hasattr(self.processor, "image_processor")

    @property
    def language_model(self) -> nn.Module:
        """Return the decoder."""
        parent = self.model.model
        return parent.language_model if self.has_vision else parent  # type: ignore[no-any-return]

    def count_pictures(self, preprocess: Callable[P, Any]) -> Callable[P, Any]:
        """Return the image processor's method, timed and with its pictures counted."""

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            with self.clock.during("preprocessing"):
                out = preprocess(*args, **kwargs)
            self.preprocessed += len(out["image_grid_thw"])
            return out

        return call

    def watch_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Time the optimizer's steps, and record the gradients that they read."""

        def before(*_: Any) -> None:
            if self.record is not None:
                named = self.model.named_parameters()
                self.record.gradient = {
                    name: weight.grad.cpu().clone()  # .cpu() alone copies nothing on a CPU
                    for name, weight in named
                    if weight.grad is not None
                }
            # after copying the gradients, which is no part of the step
            self.clock.enter("optimizer")

        # Hooks: a wrapped `step` would make torch warn that the schedule was begun before it.
        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(lambda *_: self.clock.leave())

    def watch_backward(self, accelerator: Any) -> None:
        """Time the backward passes, which both sides make through accelerate."""
        accelerator.backward = self.clock.timed("backward", accelerator.backward)
