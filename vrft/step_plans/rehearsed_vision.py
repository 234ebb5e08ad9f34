"""Features of pictures in a rehearsal: remembered ones, and passes that a step keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import FeatureCache, PatchedPicture, VisionEncoder
from vrft.models.vision_graphs import VisionGraphs
from vrft.step_plans.account import Account


class Graphs(VisionGraphs):
    """Passes that a rollout keeps for its update, of which an account is told."""

    def __init__(self, limit: int, account: Account) -> None:
        super().__init__(limit)
        self.account = account

    def keep(
        self,
        key: tuple[bytes, bytes],
        tower: nn.Module,
        patches: int,
        encode: Callable[[], Sequence[Tensor]],
    ) -> Tensor | None:
        """Pass a picture as ``VisionGraphs`` does, and count what is held of it as kept."""
        with self.account.within("vision"):  # the copy of its patches too, which the graph holds
            features = super().keep(key, tower, patches, encode)
        if features is not None:
            self.account.keep("vision", "kept")
        return features

    def learn_sizes(self, loaded: LoadedModel, pictures: Iterable[PatchedPicture]) -> None:
        """Learn how much the passes of pictures hold, as the first steps of a run do."""
        tower = loaded.vision_tower
        with self.open(), torch.no_grad():  # as a rollout does
            for picture in pictures:
                size = len(picture.patches)
                if tower is None or size in self.sizes or not self.may_fit(tower, size):
                    continue
                encode = partial(loaded.encode_pictures, [picture])
                self.keep((picture.key, b""), tower, size, encode)
                self.clear()

    def bytes_of(self, pictures: Iterable[PatchedPicture]) -> int:
        """Return the bytes that the kept passes of pictures hold."""
        kept = {key for key, _ in self.kept}
        return sum(self.sizes[len(p.patches)] for p in pictures if p.key in kept)

    def drop(self, pictures: Iterable[PatchedPicture]) -> None:
        """Drop the passes of pictures, which another micro-batch has taken before."""
        keys = {picture.key for picture in pictures}
        for key in [key for key in self.kept if key[0] in keys]:
            del self.kept[key]

    def missing(self, pictures: Sequence[PatchedPicture]) -> float:
        """Return the share of the pictures, by their patches, that an update passes again."""
        kept = {key for key, _ in self.kept}
        patches = {picture.key: len(picture.patches) for picture in pictures}
        again = sum(size for key, size in patches.items() if key not in kept)
        return again / max(1, sum(patches.values()))


class Features(FeatureCache):
    """The remembered features of pictures, which on "meta" cannot be sent to the machine."""

    graphs: Graphs

    def __init__(self, account: Account, graph_bytes: int) -> None:
        super().__init__(0, Graphs(graph_bytes, account))
        self.account = account
        self.made: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def fixed_features(
        self, picture: PatchedPicture, state: bytes, encoder: VisionEncoder
    ) -> Tensor:
        """Return a picture's features, made once and then held outside of the device's memory."""
        if picture.key in self.made:  # sent from the machine's memory to the device's
            return self.made[picture.key].clone()
        (features,) = encoder([picture])
        self.made[picture.key] = features
        self.account.release(features)
        return features.clone()
