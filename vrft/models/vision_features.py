"""Features of pictures, remembered for as long as the vision tower stays as it is.

While any weight of the tower learns, features are computed in every forward, with gradients; an
update may take those of its own rollout (see ``vision_graphs``). Those of a tower none of whose
weights learns depend on the picture, the weights and the precision alone: they are computed for
each picture by itself, and the key under which they are held is made of these three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrft.models.byte_cache import ByteCache
from vrft.models.sharding import is_sharded
from vrft.models.vision_graphs import VisionGraphs, autocast_type

CHANGE_COUNTER = "_version"
"""The attribute in which torch counts the changes made to a tensor in its place.

A private name. Where this torch has none, features are not remembered at all.
"""


@dataclass(frozen=True, eq=False)
class PatchedPicture:
    """A picture cut into patches, as the vision tower reads it.

    ``patches`` [patches, values of a patch] on the CPU; ``grid`` [1, 3]: how many frames, rows and
    columns of patches there are. Pictures with the same ``key`` have the same patches.
    """

    key: bytes
    patches: Tensor
    grid: Tensor


@dataclass(frozen=True, eq=False)
class DeepStack:
    """Features of pictures that a decoder adds to its hidden states, one level after each layer.

    ``places``, in the shape of the prompts' tokens, tells which of them are image tokens. Each of
    the ``levels`` [image tokens, D] is for one of the decoder's first layers.
    """

    places: Tensor
    levels: tuple[Tensor, ...]

    def arguments(self, tokens: int) -> dict[str, Any]:
        """Return these features as transformers' decoders take them, in rows of ``tokens``.

        The first tokens of a row are those of the prompts. What follows has no pictures.
        """
        rows = self.places.view(-1, self.places.shape[-1])  # [1, T] of a packed row
        return {
            "visual_pos_masks": F.pad(rows, (0, tokens - rows.shape[1])),
            "deepstack_visual_embeds": list(self.levels),
        }


VisionEncoder = Callable[[Sequence[PatchedPicture]], Sequence[Tensor]]
"""A pass through a vision tower: from pictures to the features [tokens, D] of each.

With n levels of DeepStack they are [tokens, (1 + n) * D]: those of the input, then the levels.
"""


class FeatureCache:
    """The features of pictures through a fixed vision tower, held in at most ``limit`` bytes.

    They are held in the machine's memory, not the device's, which training needs. ``graphs`` are
    those of a tower that learns, from a step's rollout to its update.
    """

    def __init__(self, limit: int, graphs: VisionGraphs | None = None) -> None:
        self.graphs = graphs or VisionGraphs()
        self.recent: ByteCache[Tensor] = ByteCache(limit, lambda features: features.nbytes)

    def encode(
        self, tower: nn.Module, pictures: Sequence[PatchedPicture], encoder: VisionEncoder
    ) -> list[Tensor]:
        """Return the encoder's features of each picture; equal pictures are encoded once."""
        # The prompts of a batch often share a picture, which the tower needs to see once.
        distinct = list({picture.key: picture for picture in pictures}.values())
        if is_fixed(tower):
            state = tower_state(tower)
            features = [self.fixed_features(picture, state, encoder) for picture in distinct]
        elif self.graphs.is_open and is_whole(tower):
            features = self.features_of_step(tower, distinct, encoder)
        else:
            features = list(encoder(distinct))  # all in one pass, with gradients
        keys = [picture.key for picture in distinct]
        by_key = dict(zip(keys, features, strict=True))
        return [by_key[picture.key] for picture in pictures]

    def features_of_step(
        self, tower: nn.Module, pictures: Sequence[PatchedPicture], encoder: VisionEncoder
    ) -> list[Tensor]:
        """Return features through a tower that learns: kept ones where there are some.

        A rollout keeps each picture's as far as memory allows, the update takes them. Each of them
        comes from a pass of its own, as the updates of a batch take its pictures apart.
        """
        state = tower_state(tower)
        known: dict[bytes, Tensor] = {}
        for picture in pictures:
            key, patches = (picture.key, state), len(picture.patches)
            features = self.graphs.take(key)
            if features is None and self.graphs.may_fit(tower, patches):
                features = self.graphs.keep(key, tower, patches, partial(encoder, [picture]))
            if features is not None:
                known[picture.key] = features
        others = [picture for picture in pictures if picture.key not in known]
        if others:
            keys = [picture.key for picture in others]
            known |= zip(keys, encoder(others), strict=True)
        return [known[picture.key] for picture in pictures]

    @torch.no_grad()
    def fixed_features(
        self, picture: PatchedPicture, state: bytes, encoder: VisionEncoder
    ) -> Tensor:
        """Return a picture's features through a fixed tower in this state."""
        key = (picture.key, state)
        features = self.recent.get(key)
        if features is None:
            # One picture at a time, whatever else is missing: products of other shapes round
            # otherwise, and a resumed run would not repeat the bits of one that went through.
            (features,) = encoder([picture])
            self.recent.put(key, features.cpu())
        return features


def is_fixed(tower: nn.Module) -> bool:
    """Return whether no weight of the tower learns, and this device holds all of each."""
    return is_whole(tower) and not any(weight.requires_grad for weight in tower.parameters())


def is_whole(tower: nn.Module) -> bool:
    """Return whether this device holds all of each weight, and a change of one can be noticed.

    A tower in parts must be called by all devices together, remembered features or not.
    """
    if not hasattr(Tensor, CHANGE_COUNTER):
        return False
    return not is_sharded(tower)


def tower_state(tower: nn.Module) -> bytes:
    """Return a hash that differs once weights have changed or another precision is asked for.

    It costs no pass over the weights: torch counts the changes made to each in its place, and a
    weight that was replaced lies at another address.
    """
    weights = [
        (weight.data_ptr(), getattr(weight, CHANGE_COUNTER)) for weight in tower.parameters()
    ]
    # Under autocast the same weights give other features: an evaluation may run without it.
    return hashlib.sha256(repr((weights, autocast_type(tower))).encode()).digest()
