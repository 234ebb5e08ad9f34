"""Features of pictures: made once for as long as the vision tower stays as it is.

While any weight of the tower learns, its features are made anew in every forward, with gradients.
Features are remembered only of a tower none of whose weights learns, each picture's by itself:
they depend on the picture, the weights and the precision alone, and their key is made of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrft.models.byte_cache import ByteCache


@dataclass(frozen=True, eq=False)
class Patches:
    """A picture as the vision tower reads it.

    ``patches`` [patches, values] on the CPU, ``grid`` [1, 3]: its frames, rows and columns of
    patches. Pictures with the same ``key`` have the same patches.
    """

    key: bytes
    patches: Tensor
    grid: Tensor


Encode = Callable[[Sequence[Patches]], Sequence[Tensor]]
"""The vision tower: features [tokens, D] of each picture."""


class Features:
    """What a vision tower makes of pictures; those of a fixed one are held in ``limit`` bytes.

    They are held in the machine's memory, not the device's, which training needs.
    """

    def __init__(self, limit: int) -> None:
        self.recent: ByteCache[Tensor] = ByteCache(limit, lambda made: made.nbytes)

    def of(self, tower: nn.Module, pictures: Sequence[Patches], encode: Encode) -> list[Tensor]:
        """Features [tokens, D] of each picture; equal pictures are encoded once."""
        distinct = list({picture.key: picture for picture in pictures}.values())
        if is_fixed(tower):
            state = state_of(tower)
            made = [self.remembered(picture, state, encode) for picture in distinct]
        else:
            made = list(encode(distinct))
        by_key = {picture.key: one for picture, one in zip(distinct, made, strict=True)}
        return [by_key[picture.key] for picture in pictures]

    @torch.no_grad()
    def remembered(self, picture: Patches, state: bytes, encode: Encode) -> Tensor:
        """The features of a picture through a fixed tower in this state."""
        key = (picture.key, state)
        found = self.recent.get(key)
        if found is None:
            # By itself: what else is missing must not change its last bits.
            (found,) = encode([picture])
            self.recent.put(key, found.cpu())
        return found


def is_fixed(tower: nn.Module) -> bool:
    """Whether no weight learns, and all of them are on this device.

    Where DeepSpeed or FSDP shards the weights, all devices run the tower together: one that
    skipped it would leave the others waiting.
    """
    return not any(
        weight.requires_grad or hasattr(weight, "ds_id") or hasattr(weight, "device_mesh")
        for weight in tower.parameters()
    )


def state_of(tower: nn.Module) -> bytes:
    """A hash that differs when the weights have been changed, or other precision is asked for.

    Weights are not read: torch counts the changes made to each in its place.
    """
    weights = [(weight.data_ptr(), weight._version) for weight in tower.parameters()]
    device = next(tower.parameters()).device.type
    precision = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
    return hashlib.sha256(repr((weights, precision)).encode()).digest()
