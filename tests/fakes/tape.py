"""What a CUDA graph does, on a CPU: a step's operations are noted once, and done again without it.

No line of Python of the step runs again, and all is read from and written to the same memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vrft.policy.decode_step import DecodeStep


class Tape(TorchDispatchMode):
    """Notes all that is computed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.notes.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def play(self) -> None:
        """Do it again, with what now stands in the memory that is read."""
        for func, args, kwargs, out in self.notes:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record(step: DecodeStep) -> DecodeStep:
    """The step, recorded; as with a CUDA graph it is run before, and when it is replayed."""
    step()
    with Tape() as tape:
        step()
    return tape.play
