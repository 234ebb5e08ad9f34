"""A policy's LoRA adapter as a folder that a vLLM server loads while it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import folders
from vrft.models.loaded import LoadedModel
from vrft.policy.merged_weights import ADAPTER, check_plain

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks for which a vLLM server can be started."""


def served_rank(config: ModelConfig) -> int:
    """Return the smallest of RANKS that holds the adapter of a model.

    Raises UserError for a model without an adapter, and for one of a larger rank.
    """
    rank: object = config.lora.r
    if not rank and folders.is_adapter(config.name):
        rank = folders.read_json(Path(config.name) / folders.ADAPTER).get("r")
    if not isinstance(rank, int) or rank < 1:
        raise UserError(
            "rollout.vllm.lora=adapter: the model has no LoRA adapter; set model.lora.r, or leave "
            "it out"
        )
    for served in RANKS:
        if rank <= served:
            return served
    raise UserError(
        f"rollout.vllm.lora=adapter: the adapter has rank {rank}, and vLLM serves {RANKS[-1]} at "
        "most; set rollout.vllm.lora=merged"
    )


def adapter_weights(
    loaded: LoadedModel, weights: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the weights of the model's adapter under the names of peft's folders.

    ``weights`` are the model's by their names in ``loaded.model``, gathered where devices hold only
    parts of them; None: the model's own. Raises UserError for an adapter that is not a plain
    low-rank product of one rank and one scale.
    """
    check_plain(loaded, by_itself=True)
    given = loaded.model.state_dict() if weights is None else dict(weights)
    own: dict[str, Tensor] = get_peft_model_state_dict(
        loaded.adapter, given, ADAPTER, save_embedding_layers=False
    )
    return own


def write_adapter(loaded: LoadedModel, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write an adapter's settings and weights to a new folder, as peft saves them."""
    assert loaded.adapter is not None
    folder.mkdir()
    loaded.adapter.peft_config[ADAPTER].save_pretrained(str(folder))
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
