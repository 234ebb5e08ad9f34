"""The weights of a policy as one plain model, for an engine that knows neither adapters nor parts.

Names are those of transformers' ``save_pretrained``, and an adapter is added to the weights that it
adapts: W + scaling * B A. The model itself is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from vrft.errors import UserError
from vrft.models.loaded import LoadedModel

ADAPTER = "default"
"""The name under which peft holds a model's only adapter."""


@torch.no_grad()
def merged_weights(
    loaded: LoadedModel, weights: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return all weights of the model, its adapter merged, under the names of a saved folder.

    ``weights`` are the model's by their names in ``loaded.model``, gathered where devices hold only
    parts of them; None: the model's own. A head that is tied to the embeddings is left out, as in
    saved folders. Tensors that no adapter changes are not copied; the others lie on the CPU. Raises
    UserError for an adapter that is not a plain low-rank product.
    """
    given = loaded.model.state_dict() if weights is None else weights
    merged = below_adapter(given)
    if loaded.adapter is not None:
        check_plain(loaded)
        layers = dict(loaded.model.named_modules())
        for path, layer in layers.items():
            if isinstance(layer, LoraLayer):
                low, high = (given[f"{path}.lora_{side}.{ADAPTER}.weight"] for side in "AB")
                base = given[f"{path}.base_layer.weight"]
                change = layer.scaling[ADAPTER] * (high.float() @ low.float())
                # To the CPU one by one: on a device, a second copy of all layers would stand
                # beside the model. No test without a graphics card can tell.
                whole = (base.float() + change).to(base.dtype).cpu()
                merged[plain_name(f"{path}.weight")] = whole
    return as_saved(loaded, merged)


def base_weights(
    loaded: LoadedModel, weights: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return all weights of the model below its adapter, under the names of a saved folder.

    ``weights`` are as those of ``merged_weights``.
    """
    return as_saved(
        loaded, below_adapter(loaded.model.state_dict() if weights is None else weights)
    )


def below_adapter(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights without those of its adapter, named as if there were none."""
    return {
        plain_name(name): weight
        for name, weight in weights.items()
        if not any(part.startswith("lora_") for part in name.split("."))
    }


def as_saved(loaded: LoadedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a plain model's weights under the names of a saved folder, without a tied head."""
    tied = loaded.core.all_tied_weights_keys
    kept = {name: weight for name, weight in weights.items() if name not in tied}
    return dict(revert_weight_conversion(loaded.core, kept))


def plain_name(name: str) -> str:
    """Return a weight's name in the model below the adapter."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def check_plain(loaded: LoadedModel, *, by_itself: bool = False) -> None:
    """Raise UserError for an adapter that is more than a change of weights by scaling * B A.

    ``by_itself``: whether a server is sent the adapter as it is, and not merged.
    """
    if loaded.adapter is None:
        return
    check_served(loaded.adapter.peft_config[ADAPTER], by_itself=by_itself)
    for path, layer in loaded.model.named_modules():
        # Embeddings, convolutions and experts, whose B A has other axes than the weight.
        if isinstance(layer, LoraLayer) and not isinstance(layer.get_base_layer(), nn.Linear):
            raise not_served(f"a change of {path.rpartition('.')[2]}")


def check_served(settings: Any, *, by_itself: bool) -> None:
    """Raise UserError for peft's settings of an adapter that cannot be sent to a server.

    One that is sent an adapter ``by_itself`` knows a single rank and a single scale.
    """
    extras = ("use_dora", "modules_to_save", "lora_bias", "fan_in_fan_out", "target_parameters")
    others = [name for name in extras if getattr(settings, name, None)]
    if settings.bias != "none":
        others.append(f"bias={settings.bias}")
    if others:
        raise not_served(others[0])
    for name in ("rank_pattern", "alpha_pattern"):
        if by_itself and getattr(settings, name):
            raise UserError(
                f"rollout.vllm.lora=adapter: the adapter has a {name}, and vLLM reads a single "
                "rank and scale of it; set rollout.vllm.lora=merged"
            )


def not_served(what: str) -> UserError:
    """Return the error for an adapter with more than a server can be sent."""
    return UserError(
        f"rollout.engine=vllm: an adapter with {what} cannot be sent to a server; train a plain "
        "LoRA adapter, or set rollout.engine=vrft"
    )
