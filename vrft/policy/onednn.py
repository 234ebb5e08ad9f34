"""Products by oneDNN: faster than torch's own on a CPU where few rows pass at a time.

Torch's operators for them have private names: this module alone calls them, after it has tried
whether they take and return what is expected here.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import Tensor, nn

from vrft.models.token_pass import side_by_side

REORDER, LINEAR = "_reorder_linear_weight", "_linear_pointwise"
"""Operators in torch.ops.mkldnn: the layout of a weight, and the product with one, laid out so or
as torch has it."""

HALF_SUPPORTED = {
    torch.bfloat16: "_is_mkldnn_bf16_supported",
    torch.float16: "_is_mkldnn_fp16_supported",
}
"""Operators that tell whether the processor computes in a type."""

ROWS = 16
"""The number of rows that the layout is chosen for; any other number may pass."""

SWAPPED = range(9, 97)
"""Numbers of rows at which a weight as torch has it is multiplied faster from the left."""

MIN_LAYER = 2**17
"""Weights of a layer below which calling oneDNN takes more time than it saves."""

MAX_MODEL = 2**29
"""Weights of a model above which a copy of them would take too much memory: 2 GiB in float32."""

Product = Callable[[Tensor], Tensor]
"""A function of hidden states [..., K] that returns [..., N]."""


class Products:
    """The linear layers of a model, as they compute within ``prepacked``.

    ``large`` are those that are worth oneDNN's; ``copied`` says whether it reads copies of them.
    """

    def __init__(self, layers: Mapping[nn.Linear, torch.dtype]) -> None:
        """Take plain layers with the precision each computes in."""
        self.layers = layers
        self.large = [layer for layer in layers if layer.weight.numel() >= MIN_LAYER]
        self.copied = sum(layer.weight.numel() for layer in self.large) <= MAX_MODEL

    def copy_bytes(self) -> int:
        """Return the bytes of the copies of single layers' weights in oneDNN's layout."""
        layers = self.large if self.copied else []
        return sum(
            layer.weight.numel() * self.layers[layer].itemsize
            for layer in layers
            if supports(self.layers[layer])
        )

    def joined_bytes(self, *parts: nn.Module) -> int:
        """Return the bytes of the copy that ``joined`` makes of these layers' weights."""
        if not self.joins(*parts):
            return 0
        layers = [part for part in parts if isinstance(part, nn.Linear)]
        return sum(layer.weight.numel() * self.layers[layer].itemsize for layer in layers)

    def joins(self, *parts: nn.Module) -> bool:
        """Return whether ``joined`` makes one product of these layers."""
        layers = [part for part in parts if isinstance(part, nn.Linear) and part in self.layers]
        precisions = {self.layers[layer] for layer in layers}
        largest = max((layer.weight.numel() for layer in layers), default=0)
        hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)
        same_kind = len(layers) == len(parts) and len(precisions) == 1
        if not self.copied or not same_kind or hooked or largest < MIN_LAYER:
            return False
        return supports(precisions.pop())

    def joined(self, *parts: nn.Module) -> Product:
        """Return one product in the place of several layers that read the same hidden states.

        For q, k and v the function returns [..., Nq + Nk + Nv] of hidden states [..., K]: the
        outputs side by side, as views of which the caller may go on. It reads a copy of the parts'
        weights and serves until ``prepacked`` ends. It pays for parts of which some are small: q, k
        and v take a quarter to a third less time, gate and up hardly less. Where weights are not
        copied, as in a large model, or a part is not a plain linear layer (LoRA's) or they are all
        small, the parts are called one after the other and their outputs copied together.
        """
        if not self.joins(*parts):
            return side_by_side(*parts)
        layers = [part for part in parts if isinstance(part, nn.Linear)]
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [
            layer.weight.new_zeros(layer.out_features)
            if layer.bias is None
            else layer.bias.detach()
            for layer in layers
        ]
        biased = any(layer.bias is not None for layer in layers)
        return packed_product(weight, torch.cat(biases) if biased else None, self.layers[layers[0]])


@contextmanager
def prepacked(model: nn.Module) -> Iterator[Products]:
    """Let the model's linear layers compute by oneDNN, from copies of their weights in its layout.

    It is for passes without gradients, while no weight changes: a product with 16 rows takes about
    half as long, and its numbers differ by rounding alone. The weights of a model too large to be
    copied are read where they lie, which gains less. Small layers stay as they are.
    """
    autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    products = Products(plain_layers(model, autocast))
    copied, changed = products.copied, []
    try:
        for layer in products.large:
            precision, weight = products.layers[layer], layer.weight.detach()
            bias = None if layer.bias is None else layer.bias.detach()
            if copied and supports(precision):
                product = packed_product(weight, bias, precision)
            # not what autocast would convert, and so copy, at every call
            elif not copied and weight.dtype == precision and reads_in_place(precision):
                product = partial(product_in_place, weight, bias)
            else:
                continue
            layer.forward = product  # type: ignore[method-assign, assignment]
            changed.append(layer)
        yield products
    finally:
        for layer in changed:
            del layer.forward  # the class's own again


def plain_layers(
    model: nn.Module, autocast: torch.dtype | None = None
) -> dict[nn.Linear, torch.dtype]:
    """Return the linear layers that compute as their class does, and each one's precision.

    ``autocast`` is the type in which autocast computes, None where it is off.
    """
    return {
        layer: autocast or layer.weight.dtype
        for layer in model.modules()
        # Subclasses may compute something else; a forward of the object's own is some hook's.
        if type(layer) is nn.Linear and "forward" not in vars(layer)
    }


def packed_product(weight: Tensor, bias: Tensor | None, precision: torch.dtype) -> Product:
    """Return the product with a copy of a weight [N, K] in oneDNN's layout."""
    bias = None if bias is None else bias.to(precision)
    packed = getattr(torch.ops.mkldnn, REORDER)(weight.to(precision), ROWS)  # only oneDNN reads it
    return partial(linear, packed, bias)


def product_in_place(weight: Tensor, bias: Tensor | None, hidden: Tensor) -> Tensor:
    """Return hidden @ weight.T + bias of hidden states [..., K] and a weight [N, K] as it lies.

    Time is that of reading the weight, for a few rows. For up to about a hundred the weight is
    taken as the N rows and the hidden states as the matrix, weight @ hidden.T: the rows of the
    smaller one are rearranged at every call, those of the larger one only read.
    """
    rows = hidden.numel() // weight.shape[1]
    # A bias would be added after rounding: few layers have one, which are small.
    if rows not in SWAPPED or bias is not None:
        return linear(weight, bias, hidden)
    out = linear(hidden.reshape(rows, -1), None, weight)  # [N, rows]
    return out.mT.contiguous().view(*hidden.shape[:-1], -1)


def linear(weight: Tensor, bias: Tensor | None, hidden: Tensor) -> Tensor:
    """Return hidden @ weight.T + bias by oneDNN, with a weight in its layout or in torch's."""
    product = getattr(torch.ops.mkldnn, LINEAR)
    no_activation: tuple[str, list[float], str] = ("none", [], "")
    out: Tensor = product(hidden.to(weight.dtype), weight, bias, *no_activation)
    return out


@cache
def supports(dtype: torch.dtype) -> bool:
    """Return whether oneDNN computes in a type here, with weights in a layout of its own.

    Where it does not, layers stay as they are.
    """
    return is_right(lambda eye: packed_product(eye, None, dtype)(eye), dtype)


@cache
def reads_in_place(dtype: torch.dtype) -> bool:
    """Return whether oneDNN computes in a type here, with weights as torch has them."""

    def product(eye: Tensor) -> Tensor:
        few = eye[: SWAPPED.start - 1]  # multiplied from the right, the rest from the left
        swapped = product_in_place(eye, None, eye)
        return torch.cat([product_in_place(eye, None, few), swapped[len(few) :]])

    return is_right(product, dtype)


def is_right(product: Callable[[Tensor], Tensor], dtype: torch.dtype) -> bool:
    """Return whether a product with an identity matrix [ROWS, ROWS] works and returns it."""
    # On other processors torch may have these operators too; whether they gain is not known.
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if dtype != torch.float32 and dtype not in HALF_SUPPORTED:
        return False
    try:
        if dtype in HALF_SUPPORTED and not getattr(torch.ops.mkldnn, HALF_SUPPORTED[dtype])():
            return False
        eye = torch.eye(ROWS, dtype=dtype)
        return torch.equal(product(eye), eye)
    except (AttributeError, RuntimeError, TypeError):
        return False
