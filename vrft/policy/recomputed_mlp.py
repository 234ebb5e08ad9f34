"""MLPs whose backward pass makes the activation again, from what it was made of.

The activation and its product with the gate are not held for the backward pass: two thirds of what
an MLP holds. Values and gradients are those of torch's own layers but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrft.policy import onednn

WIDE = 1024
"""Inputs of a layer from which on oneDNN makes the gradient of its weight faster than torch."""

BLOCK = 2**16
"""Numbers to which all of an activation's operations are applied at once: they fit into a cache."""

QUICK = 1.702
"""The factor of quick GELU, x * sigmoid(1.702 x)."""


def gated_mlp(
    gate: nn.Module, up: nn.Module, down: nn.Linear, by_onednn: bool, hidden: Tensor
) -> Tensor:
    """Return down(silu(gate(hidden)) * up(hidden))."""
    out: Tensor = GatedProduct.apply(  # type: ignore[no-untyped-call]
        by_onednn, gate(hidden), up(hidden), down.weight, down.bias
    )
    return out


def quick_mlp(first: nn.Module, last: nn.Linear, by_onednn: bool, hidden: Tensor) -> Tensor:
    """Return last(quick_gelu(first(hidden)))."""
    out: Tensor = QuickProduct.apply(  # type: ignore[no-untyped-call]
        by_onednn, first(hidden), last.weight, last.bias
    )
    return out


def product(weight: Tensor, bias: Tensor | None, hidden: Tensor, by_onednn: bool) -> Tensor:
    """Return hidden @ weight.T + bias."""
    if by_onednn:
        return onednn.linear(weight, bias, hidden)
    return F.linear(hidden, weight, bias)


def blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield contiguous tensors of one size, a block of each at a time."""
    yield from zip(*[tensor.view(-1).split(BLOCK) for tensor in tensors], strict=True)


class GatedProduct(torch.autograd.Function):
    """(silu(g) * u) @ W.T + b, of which the backward pass makes silu(g) * u again."""

    @staticmethod
    def forward(
        ctx: Any, by_onednn: bool, gate: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Return [..., N] of gates and values [..., K], a weight [N, K] and a bias [N] or None."""
        gate, up = gate.contiguous(), up.contiguous()
        ctx.save_for_backward(gate, up, weight)
        ctx.by_onednn, ctx.biased = by_onednn, bias is not None
        activated = torch.empty_like(up)
        for g, u, out in blocks(gate, up, activated):
            torch.ops.aten.silu.out(g, out=out)
            out.mul_(u)
        return product(weight, bias, activated, by_onednn)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; the first input has none."""
        gate, up, weight = ctx.saved_tensors
        # A = silu(g) u, dA = grad @ W: du = dA silu(g), dg = silu'(g) dA u.
        # The memory of dg holds dA first.
        of_gate = product(weight.mT, None, grad, ctx.by_onednn)
        of_up, activated = torch.empty_like(up), torch.empty_like(up)
        for g, u, a, of_g, of_u in blocks(gate, up, activated, of_gate, of_up):
            torch.ops.aten.silu.out(g, out=a)
            torch.mul(of_g, a, out=of_u)
            torch.ops.aten.silu_backward.grad_input(of_g.mul_(u), g, grad_input=of_g)
            a.mul_(u)
        rows = grad.flatten(0, -2)
        return None, of_gate, of_up, *last_gradients(ctx, rows, activated.flatten(0, -2), 3)


class QuickProduct(torch.autograd.Function):
    """quick_gelu(h) @ W.T + b, of which the backward pass makes the activation again."""

    @staticmethod
    def forward(
        ctx: Any, by_onednn: bool, hidden: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Return [..., N] of hidden states [..., K], a weight [N, K] and a bias [N] or None."""
        hidden = hidden.contiguous()
        ctx.save_for_backward(hidden, weight)
        ctx.by_onednn, ctx.biased = by_onednn, bias is not None
        activated = torch.empty_like(hidden)
        for h, out in blocks(hidden, activated):
            torch.mul(h, QUICK, out=out)
            out.sigmoid_().mul_(h)
        return product(weight, bias, activated, by_onednn)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; the first input has none."""
        hidden, weight = ctx.saved_tensors
        # A = quick_gelu(h), dA = grad @ W: dh = quick_gelu'(h) dA. The memory of dh holds dA first.
        of_hidden = product(weight.mT, None, grad, ctx.by_onednn)
        activated = torch.empty_like(hidden)
        for h, a, of_h in blocks(hidden, activated, of_hidden):
            # with s = sigmoid(1.702 h) and a = h s the derivative is s + 1.702 a (1 - s)
            sigmoid = (h * QUICK).sigmoid_()
            torch.mul(h, sigmoid, out=a)
            of_h.mul_((1 - sigmoid).mul_(a).mul_(QUICK).add_(sigmoid))
        rows = grad.flatten(0, -2)
        return None, of_hidden, *last_gradients(ctx, rows, activated.flatten(0, -2), 2)


def last_gradients(
    ctx: Any, grad: Tensor, activated: Tensor, weight_at: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the weight and bias of an MLP's last layer, which may be frozen.

    ``weight_at`` is the place of the weight among the function's inputs; the bias comes next.
    """
    of_weight = of_bias = None
    if ctx.needs_input_grad[weight_at]:
        of_weight = weight_gradient(grad, activated, by_onednn=ctx.by_onednn)
    if ctx.biased and ctx.needs_input_grad[weight_at + 1]:
        of_bias = grad.sum(0)
    return of_weight, of_bias


def weight_gradient(grad: Tensor, hidden: Tensor, *, by_onednn: bool) -> Tensor:
    """Return the gradient of a weight, grad.T @ hidden, of rows [n, N] and [n, K]: [N, K]."""
    if by_onednn and hidden.shape[1] >= WIDE:
        return onednn.linear(hidden.mT, None, grad.mT)
    return grad.mT @ hidden
