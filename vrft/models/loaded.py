"""A loaded model behind one face, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from vrft.models.byte_cache import ByteCache
from vrft.models.conversation import MARK, end_of_turn
from vrft.models.families import VISION_TOKENS, Family
from vrft.models.processors import Processor
from vrft.models.vision_features import DeepStack, FeatureCache, PatchedPicture
from vrft.models.vision_graphs import VisionGraphs


@dataclass(eq=False)
class LoadedModel:
    """A model with its processor, behind one face for every family, adapted by LoRA or not.

    ``cache_bytes`` bounds the cache of pictures as the processor made them, and that of their
    features, each by itself. ``shared_prefix``: whether a prompt passes the model once for all its
    completions. ``graph_bytes`` bounds the activations of a rollout's vision passes that a step
    keeps for its update.
    """

    model: PreTrainedModel | PeftModel
    processor: Processor
    family: Family
    cache_bytes: int = 0
    shared_prefix: bool = True
    graph_bytes: int = 0

    def __post_init__(self) -> None:
        """Look up the model's parts, which stay the same objects through every kind of training."""
        processor: Any = self.processor
        self.tokenizer: PreTrainedTokenizerBase = getattr(processor, "tokenizer", processor)
        self.adapter = self.model if isinstance(self.model, PeftModel) else None
        # The transformers model itself: peft's wrapper has other attributes and forwards.
        core = self.adapter.get_base_model() if self.adapter else self.model
        self.core = cast(Any, core)
        self.language_model: nn.Module = self.core.get_submodule(self.family.decoder)
        self.vision_tower: nn.Module | None = None
        if self.family.has_vision:
            self.vision_tower = self.core.get_submodule(self.family.vision_tower)
        self.token_embedding: nn.Module = self.core.get_input_embeddings()
        self.head: nn.Linear = self.core.get_output_embeddings()

        # Every token that ends a completion: Qwen's checkpoints name two, its base models only the
        # one that no chat ends with.
        named = self.core.generation_config.eos_token_id
        ends = [named] if isinstance(named, int) else list(named or [])
        ends += [self.tokenizer.eos_token_id, end_of_turn(self.processor)]
        self.end_ids = frozenset(token for token in ends if token is not None)
        # Tokens that are no part of a completion's text. Special tokens of other forms are: a
        # checkpoint may have made some of an answer's tags, which rewards have to see.
        added = self.tokenizer.added_tokens_decoder
        marks = {id for id, token in added.items() if token.special and MARK.fullmatch(str(token))}
        pad = self.tokenizer.pad_token_id
        self.unwritten_ids = self.end_ids | marks | ({pad} - {None})
        # Tokens that are never sampled: the markers of pictures, and the rows by which published
        # embeddings are longer than the vocabulary, which stand for no token.
        known = self.tokenizer.get_vocab()
        banned = {known[token] for token in VISION_TOKENS if token in known}
        banned.update(range(len(self.tokenizer), self.head.out_features))
        self.banned_ids = tuple(sorted(banned))

        self.picture_cache: ByteCache[PatchedPicture] = ByteCache(
            self.cache_bytes, lambda picture: picture.patches.nbytes
        )
        self.feature_cache = FeatureCache(self.cache_bytes, VisionGraphs(self.graph_bytes))

    @property
    def device(self) -> torch.device:
        """Return the device of the weights, to which a launch may have moved them."""
        return next(self.core.parameters()).device  # type: ignore[no-any-return]

    def until_end(self, tokens: Sequence[int]) -> list[int]:
        """Return a completion's tokens up to the first that ends it, or all of them."""
        ends = (place for place, token in enumerate(tokens, 1) if token in self.end_ids)
        return list(tokens[: next(ends, len(tokens))])

    def embed(
        self, tokens: Tensor, pictures: Sequence[PatchedPicture]
    ) -> tuple[Tensor, DeepStack | None]:
        """Return token embeddings [..., D] of tokens [...], with pictures in their places.

        ``pictures`` are those of all tokens, in their order. The features of each replace the
        embeddings of its image tokens. What they add to deeper layers, for ``decoder`` to add,
        stands beside the embeddings; None for a family without DeepStack.
        """
        embeddings: Tensor = self.token_embedding(tokens)
        tower = self.vision_tower
        if tower is None or not pictures:
            return embeddings, None
        features = self.feature_cache.encode(tower, pictures, self.encode_pictures)
        # Remembered features come from the machine's memory, in the precision they were made in.
        rows = torch.cat([part.to(embeddings, non_blocking=True) for part in features])
        is_image = tokens == self.core.config.image_token_id
        first, *levels = rows.split(embeddings.shape[-1], dim=-1)
        embedded = embeddings.masked_scatter(is_image.unsqueeze(-1), first)
        # A blank picture has one image token and no place. Its levels are added to no token, which
        # gives them gradients of zero, as those have that other processes wait for.
        return embedded, DeepStack(is_image, tuple(levels)) if levels else None

    def encode_pictures(self, pictures: Sequence[PatchedPicture]) -> Sequence[Tensor]:
        """Return each picture's features, in one pass through the vision tower.

        They are [tokens, D], and [tokens, (1 + n) * D] with n levels of DeepStack.
        """
        patches = torch.cat([picture.patches for picture in pictures])
        # On the CPU: the tower reads them number by number, in every layer.
        grids = torch.cat([picture.grid for picture in pictures])
        out = self.core.model.get_image_features(
            patches.to(self.device, non_blocking=True), grids, **self.patch_positions(grids)
        )
        if not self.family.deepstack:
            return out.pooler_output  # type: ignore[no-any-return]
        levels = zip(out.pooler_output, *out.deepstack_features, strict=True)
        return [torch.cat(parts, dim=-1) for parts in levels]

    def patch_positions(self, grids: Tensor) -> dict[str, Tensor]:
        """Return the tower's arguments for the places of patches in pictures of these sizes.

        The tower would make them where the grids are, on the CPU.
        """
        tower: Any = self.vision_tower
        merge = self.core.config.vision_config.spatial_merge_size
        made = {"position_ids": get_vision_position_ids(grids, merge)}
        if self.family.position_grid:
            made["interp_indices"], made["interp_weights"] = (
                get_vision_interpolation_indices_and_weights(
                    grids,
                    tower.num_grid_per_side,
                    tower.interpolation_mode,
                    tower.interpolation_align_corners,
                    merge,
                )
            )
        return {name: t.to(self.device, non_blocking=True) for name, t in made.items()}

    def decoder(
        self,
        embedded: Tensor,
        positions: Tensor,
        deepstack: DeepStack | None = None,
        **attention: Any,
    ) -> Tensor:
        """Return hidden states [B, T, D] of embeddings [B, T, D] at positions [3 or 1, B, T].

        ``deepstack`` comes from ``embed``, for the first tokens of each row. Which tokens attend to
        which is for ``attention`` to say, the ``layout`` and the ``group_cache`` of
        ``vrft.attention.group_attention.attend``.
        """
        if deepstack is not None:
            attention |= deepstack.arguments(embedded.shape[1])
        out: Tensor = self.language_model(
            inputs_embeds=embedded,
            position_ids=positions if len(positions) == 3 else positions[0],
            # No masks, which a dictionary says so that transformers makes none; a decoder that
            # takes no dictionary makes none where there is no padding.
            attention_mask=dict.fromkeys(self.family.masks) or None,
            use_cache=False,
            **attention,
        ).last_hidden_state
        return out

    def rope_positions(self, tokens: Tensor, grids: Tensor | None) -> Tensor:
        """Return rotary positions [3, P] of one prompt's tokens [P]: by time, row and column.

        ``grids`` [images, 3] are the sizes of its pictures in patches. A text-only model counts in
        one dimension: [1, P].
        """
        if self.vision_tower is None:
            return torch.arange(len(tokens)).unsqueeze(0)
        types = (tokens == self.core.config.image_token_id).long()  # 0: text, 1: picture
        positions, _ = self.core.model.get_rope_index(
            tokens.unsqueeze(0), mm_token_type_ids=types.unsqueeze(0), image_grid_thw=grids
        )
        return positions[:, 0]  # type: ignore[no-any-return]
