"""A loaded model behind one face, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.vision_utils import get_vision_position_ids

from vrft.models.byte_cache import ByteCache
from vrft.models.families import Family, Processor
from vrft.models.vision_features import Features, Patches

VISION_TOKENS = (
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A model with its processor, behind one face for every family, adapted by LoRA or not.

    ``memory`` bounds, in bytes each, the pictures as the processor made them and their features.
    ``shared_prefix``: whether a prompt passes the model once for all its completions.
    """

    model: PreTrainedModel | PeftModel
    processor: Processor
    family: Family
    memory: int = 0
    shared_prefix: bool = True

    @property
    def adapter(self) -> PeftModel | None:
        """peft's wrapper around the model; None where there is no adapter."""
        return self.model if isinstance(self.model, PeftModel) else None

    @property
    def core(self) -> Any:
        """The transformers model itself, without peft's wrapper."""
        return self.adapter.get_base_model() if self.adapter else self.model

    @cached_property
    def pictures(self) -> ByteCache[Patches]:
        """Pictures as the processor made them, those used last."""
        return ByteCache(self.memory, lambda picture: picture.patches.nbytes)

    @cached_property
    def features(self) -> Features:
        """What the vision tower makes of pictures."""
        return Features(self.memory)

    @property
    def language_model(self) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return self.core.model.language_model if self.family.space else self.core.model  # type: ignore[no-any-return]

    @property
    def vision_tower(self) -> nn.Module | None:
        """The image encoder with its merger; None for a text-only model."""
        return self.core.model.visual if self.family.space else None

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The processor's tokenizer."""
        processor: Any = self.processor
        return processor if self.family.space is None else processor.tokenizer  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.core.parameters()).device  # type: ignore[no-any-return]

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Every token that ends a completion: Qwen checkpoints name two."""
        named = self.core.generation_config.eos_token_id
        ids = [named] if isinstance(named, int) else list(named or [])
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    def until_end(self, tokens: Sequence[int]) -> list[int]:
        """A completion's tokens up to the first that ends it, or all of them."""
        ends = (place for place, token in enumerate(tokens, 1) if token in self.end_ids)
        return list(tokens[: next(ends, len(tokens))])

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Tokens never sampled: vision markers, and embedding rows that stand for no token."""
        known = self.tokenizer.get_vocab()
        markers = {known[token] for token in VISION_TOKENS if token in known}
        rows = self.core.get_output_embeddings().weight.shape[0]
        return tuple(sorted(markers | set(range(len(self.tokenizer), rows))))

    def embed(self, tokens: Tensor, pictures: Sequence[Patches]) -> Tensor:
        """Token embeddings [B, P, D] with every picture's features in the place of its tokens.

        ``pictures`` are those of all rows, in their order.
        """
        embeddings: Tensor = self.core.get_input_embeddings()(tokens)
        tower = self.vision_tower
        if tower is None or not pictures:
            return embeddings
        features = torch.cat(
            [
                one.to(embeddings, non_blocking=True)
                for one in self.features.of(tower, pictures, self.see)
            ]
        )
        where = (tokens == self.core.config.image_token_id).unsqueeze(-1)
        return embeddings.masked_scatter(where, features)

    def decoder(self, embedded: Tensor, positions: Tensor, **attention: Any) -> Tensor:
        """Hidden states [B, T, D] of embeddings [B, T, D] at positions [3 or 1, B, T].

        What is seen is for ``attention`` to say: see ``vrft.attention.attend``.
        """
        out: Tensor = self.language_model(
            inputs_embeds=embedded,
            position_ids=positions if len(positions) == 3 else positions[0],
            attention_mask={"full_attention": None},
            use_cache=False,
            **attention,
        ).last_hidden_state
        return out

    def see(self, pictures: Sequence[Patches]) -> Sequence[Tensor]:
        """Each picture's features [tokens, D], made by the vision tower."""
        patches = torch.cat([picture.patches for picture in pictures])
        # On the CPU: the tower reads them number by number, in every layer.
        grids = torch.cat([picture.grid for picture in pictures])
        places = get_vision_position_ids(grids, self.core.config.vision_config.spatial_merge_size)
        return self.core.model.get_image_features(  # type: ignore[no-any-return]
            patches.to(self.device, non_blocking=True),
            grids,
            position_ids=places.to(self.device, non_blocking=True),
        ).pooler_output

    def positions(self, tokens: Tensor, grids: Tensor | None) -> Tensor:
        """Rotary positions of one prompt's tokens [P]: [3, P] with pictures' rows and columns.

        A text-only model counts in one dimension: [1, P].
        """
        if self.family.space is None:
            return torch.arange(len(tokens)).unsqueeze(0)
        types = (tokens == self.core.config.image_token_id).long()
        positions, _ = self.core.model.get_rope_index(
            tokens.unsqueeze(0), mm_token_type_ids=types.unsqueeze(0), image_grid_thw=grids
        )
        return positions[:, 0]  # type: ignore[no-any-return]
