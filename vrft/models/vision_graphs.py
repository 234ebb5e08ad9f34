"""The vision pass of a rollout, kept with its graph for the update on the same weights.

While a vision tower learns, its features are worth nothing after the next optimizer step. Within
one step they are not: the update on a batch begins with the weights that sampled it. A pass of the
rollout that keeps its activations spares the update its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vrft.config.algorithm import AlgorithmConfig

MIN_TOWER = 2**20
"""Weights of a vision tower below which a second pass costs too little to be spared."""


def may_serve(algorithm: AlgorithmConfig, devices: int) -> bool:
    """Return whether the update of a step may take the vision passes of its rollout.

    It may where it begins with the weights that sampled. Of several devices each waits in the
    tower for the others, at every pass of an update.
    """
    return devices == 1 and not algorithm.reuses_batches


class VisionGraphs:
    """Features of pictures with their graphs, whose activations take at most ``limit`` bytes.

    They are kept only within ``open``. ``prepare`` is entered around each pass that is kept, with
    the tower: a rollout may have laid out its weights for passes without gradients.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.prepare: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext
        self.is_open = False
        self.kept: dict[tuple[bytes, bytes], Tensor] = {}
        self.held = 0  # bytes that the kept passes hold
        self.sizes: dict[int, int] = {}  # patches of a picture -> bytes that its pass holds

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the passes of rollouts within; drop at the end those that no update has taken."""
        self.is_open = self.limit > 0
        try:
            yield
        finally:
            self.is_open = False
            self.clear()

    def clear(self) -> None:
        """Drop all that is kept."""
        self.kept.clear()
        self.held = 0

    def take(self, key: tuple[bytes, bytes]) -> Tensor | None:
        """Return the features under a key with their graph, once; None where none are kept.

        Without gradients being recorded they stay for the update, and are returned without graph.
        """
        if torch.is_grad_enabled():
            return self.kept.pop(key, None)
        features = self.kept.get(key)
        return None if features is None else features.detach()

    def may_fit(self, tower: nn.Module, patches: int) -> bool:
        """Return whether the pass of a picture of so many patches is worth keeping, and may fit.

        The passes of earlier pictures have shown how much is held. What is not known is tried: a
        run that is resumed knows nothing, and must decide as one that went through.
        """
        if not self.is_open or torch.is_grad_enabled():
            return False
        if not is_worth_keeping(tower):
            return False
        # a picture holds at least as much as any smaller one
        known = max((size for n, size in self.sizes.items() if n <= patches), default=0)
        return self.held + known <= self.limit

    def keep(
        self,
        key: tuple[bytes, bytes],
        tower: nn.Module,
        patches: int,
        encode: Callable[[], Sequence[Tensor]],
    ) -> Tensor | None:
        """Pass one picture through the tower, and keep its features with their graph.

        Returns the features without it, or None where it takes too many bytes. The pass is made as
        the update would make it, in training mode, in which gradient checkpointing holds less.
        """
        was_training = tower.training
        tower.train()
        try:
            with torch.enable_grad(), uncached_autocast(tower), self.prepare(tower):
                if patches in self.sizes:
                    (features,) = encode()
                else:
                    with held_bytes(tower) as storages:
                        (features,) = encode()
                    self.sizes[patches] = sum(storages.values())
        finally:
            tower.train(was_training)
        if self.held + self.sizes[patches] > self.limit:
            return None
        self.held += self.sizes[patches]
        self.kept[key] = features
        return features.detach()


def is_worth_keeping(tower: nn.Module) -> bool:
    """Return whether a second pass through a tower costs enough to be spared."""
    return sum(weight.numel() for weight in tower.parameters()) >= MIN_TOWER


@contextmanager
def held_bytes(tower: nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes of each tensor that is held for a backward pass, weights left out."""
    # Not by their addresses: on "meta", where a plan rehearses a step, these are all the same.
    weights = {weight.untyped_storage()._cdata for weight in tower.parameters()}
    storages: dict[int, int] = {}

    def count(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage.nbytes()
        # Not the tensor itself: an output that its own node holds would never be freed.
        return saved.detach()

    with saved_tensors_hooks(count, lambda saved: saved):
        yield storages


def uncached_autocast(tower: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which autocast converts weights anew, if it is on at all.

    Those that it has converted in a pass without gradients would be used again, and learn nothing.
    """
    precision = autocast_type(tower)
    if precision is None:
        return nullcontext()
    device = next(tower.parameters()).device.type
    return torch.autocast(device, precision, cache_enabled=False)


def autocast_type(tower: nn.Module) -> torch.dtype | None:
    """Return the type in which autocast computes on the tower's device; None where it is off."""
    device = next(tower.parameters()).device.type
    # "meta" has no autocast, and torch refuses to say whether it is on.
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)
