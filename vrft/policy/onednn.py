"""Weights laid out for a CPU's matrix products: faster where few rows pass a layer at a time."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

LEAST = 2**17
"""Weights of a layer below which calling oneDNN takes more time than it saves."""

MOST = 2**29
"""Weights of a model above which a copy of them would take too much memory: 2 GiB in float32."""


@contextmanager
def prepacked(model: nn.Module) -> Iterator[None]:
    """Within it the model's linear layers read copies of their weights in oneDNN's layout.

    It is for passes without gradients, while no weight changes. A product with 16 rows takes about
    half as long; the numbers differ by rounding alone. Small layers stay as they are, and so does
    a large model.
    """
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and gains(layer)]
    if sum(layer.weight.numel() for layer in layers) > MOST:
        layers = []
    for layer in layers:
        layer.forward = partial(linear, *packed(layer))  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def gains(layer: nn.Linear) -> bool:
    """Whether oneDNN takes the layer and is faster on it. Hooks that replaced ``forward`` stay."""
    hooked = "forward" in vars(layer)
    return not hooked and layer.weight.numel() >= LEAST and takes(precision(layer))


def takes(dtype: torch.dtype) -> bool:
    """Whether this processor's oneDNN computes in it."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    ops = torch.ops.mkldnn
    half = {
        torch.bfloat16: ops._is_mkldnn_bf16_supported,
        torch.float16: ops._is_mkldnn_fp16_supported,
    }
    return bool(half[dtype]()) if dtype in half else dtype == torch.float32


def precision(layer: nn.Linear) -> torch.dtype:
    """In what the layer computes, within autocast or without."""
    autocast = torch.is_autocast_enabled("cpu")
    return torch.get_autocast_dtype("cpu") if autocast else layer.weight.dtype


def packed(layer: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Copies of the weight, which only oneDNN reads, and of the bias."""
    weight, bias = (
        None if one is None else one.detach().to(precision(layer))
        for one in (layer.weight, layer.bias)
    )
    rows = 16  # a hint; any number of rows may pass
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows), bias


def linear(weight: Tensor, bias: Tensor | None, hidden: Tensor) -> Tensor:
    """What a layer makes of hidden states [..., K]: [..., N]."""
    same = hidden.to(weight.dtype)
    return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
        same, weight, bias, "none", [], ""
    )
