"""What passes a contestant's weights in one step: exact, and the same on any machine.

Rows are counted where matrices are multiplied, by the storage of the weight: no way around a
module's forward escapes. Recomputation and the backward pass are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.speed.watch import Watched

PHASES = {"rollout": "rollout", "forward": "update"}
"""The parts of a step in which rows are counted, and what they are called."""

PRODUCTS = (
    torch.ops.aten.mm.default,
    torch.ops.aten.mm.out,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.convolution.default,
)


class Rows(TorchDispatchMode):
    """Adds up the rows that some weights are multiplied with, by phase and name.

    A product with a slice of a weight counts for as much of a row as it gives.
    """

    def __init__(self, side: Watched, counts: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.side, self.counts = side, counts
        self.partial: Counter[str] = Counter()
        self.weights = {storage(weight): name for name, weight in watched_weights(side).items()}
        self.widths = {name: len(weight) for name, weight in watched_weights(side).items()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        phase = PHASES.get(self.side.clock.part)
        if phase and func in PRODUCTS:
            tensors = [one for one in args if isinstance(one, Tensor)]
            for name in {self.weights.get(storage(one)) for one in tensors} - {None}:
                key = f"{phase}: {name}"
                self.partial[key] += out.numel()
                self.counts[key] = round(self.partial[key] / self.widths[str(name)])
        return out


def storage(tensor: Tensor) -> int:
    """Where a tensor's numbers lie, whatever view of them it is."""
    return tensor.untyped_storage().data_ptr()


def watched_weights(side: Watched) -> dict[str, Tensor]:
    """A weight that everything passes once: of the vision tower, the decoder, and the head."""
    language: Any = side.language_model
    weights = {
        "tokens through the language model": language.layers[0].mlp.down_proj.weight,
        "rows of logits": side.model.get_output_embeddings().weight,
    }
    if side.sees:
        weights["patches through the vision tower"] = (
            side.model.model.visual.patch_embed.proj.weight
        )
    return weights


@contextmanager
def counting(side: Watched) -> Iterator[Counter[str]]:
    """Counts all that a side does meanwhile."""
    counts: Counter[str] = Counter()
    handles = []
    if side.sees:

        def encoded(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            grids = kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]
            phase = PHASES.get(side.clock.part, side.clock.part)
            counts[f"{phase}: pictures through the vision tower"] += len(grids)

        visual = side.model.model.visual
        handles.append(visual.register_forward_pre_hook(encoded, with_kwargs=True))
    prepared = side.prepared
    try:
        with Rows(side, counts):
            yield counts
    finally:
        for handle in handles:
            handle.remove()
    counts["pictures through the image processor"] = side.prepared - prepared
    counts["backward passes"] = side.clock.calls["backward"]
