"""Weights in oneDNN's own layout: faster matrix products on a CPU where few rows pass at a time.

Torch's operators for this layout have private names: this module alone calls them, after it has
tried whether they take and return what is expected here.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import Tensor, nn

REORDER, LINEAR = "_reorder_linear_weight", "_linear_pointwise"
"""Operators in torch.ops.mkldnn: the layout of a weight, and the product with one laid out."""

HALF_SUPPORTED = {
    torch.bfloat16: "_is_mkldnn_bf16_supported",
    torch.float16: "_is_mkldnn_fp16_supported",
}
"""Operators that tell whether the processor computes in a type."""

ROWS = 16
"""The number of rows that the layout is chosen for; any other number may pass."""

MIN_LAYER = 2**17
"""Weights of a layer below which calling oneDNN takes more time than it saves."""

MAX_MODEL = 2**29
"""Weights of a model above which a copy of them would take too much memory: 2 GiB in float32."""


@contextmanager
def prepacked(model: nn.Module) -> Iterator[None]:
    """Let the model's linear layers read copies of their weights in oneDNN's layout.

    It is for passes without gradients, while no weight changes: a product with 16 rows takes about
    half as long, and its numbers differ by rounding alone. Small layers stay as they are, and so do
    the layers of a large model.
    """
    autocast = torch.is_autocast_enabled("cpu")
    layers: list[tuple[nn.Linear, torch.dtype]] = []
    for layer in model.modules():
        # Subclasses may compute something else; a forward of the object's own is some hook's.
        if type(layer) is not nn.Linear or "forward" in vars(layer):
            continue
        precision = torch.get_autocast_dtype("cpu") if autocast else layer.weight.dtype
        if layer.weight.numel() >= MIN_LAYER and supports(precision):
            layers.append((layer, precision))
    if sum(layer.weight.numel() for layer, _ in layers) > MAX_MODEL:
        layers = []
    for layer, precision in layers:
        weight = layer.weight.detach().to(precision)
        bias = None if layer.bias is None else layer.bias.detach().to(precision)
        packed = getattr(torch.ops.mkldnn, REORDER)(weight, ROWS)  # only oneDNN reads it
        layer.forward = partial(packed_linear, packed, bias)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer, _ in layers:
            del layer.forward  # the class's own again


def packed_linear(packed: Tensor, bias: Tensor | None, hidden: Tensor) -> Tensor:
    """Return hidden @ weight.T + bias of hidden states [..., K] and a packed weight: [..., N]."""
    product = getattr(torch.ops.mkldnn, LINEAR)
    no_activation: tuple[str, list[float], str] = ("none", [], "")
    out: Tensor = product(hidden.to(packed.dtype), packed, bias, *no_activation)
    return out


@cache
def supports(dtype: torch.dtype) -> bool:
    """Return whether oneDNN computes in a type here, by operators that are called as above.

    Where it does not, layers stay as they are.
    """
    # On other processors torch may have these operators too; whether they gain is not known.
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if dtype != torch.float32 and dtype not in HALF_SUPPORTED:
        return False
    try:
        if dtype in HALF_SUPPORTED and not getattr(torch.ops.mkldnn, HALF_SUPPORTED[dtype])():
            return False
        eye = torch.eye(ROWS, dtype=dtype)
        packed = getattr(torch.ops.mkldnn, REORDER)(eye, ROWS)
        return torch.equal(packed_linear(packed, None, eye), eye)
    except (AttributeError, RuntimeError, TypeError):
        return False
