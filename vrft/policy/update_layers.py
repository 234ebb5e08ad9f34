"""Layers as an update on a CPU computes them: products by oneDNN, activations made again.

Values and gradients are those of torch's own layers but for rounding. An MLP's activation and its
product with the gate are not held for the backward pass, which makes them anew from what they were
made of: two thirds of what an MLP holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import QuickGELUActivation, SiLUActivation

from vrft.models.sharding import is_sharded
from vrft.policy import onednn

MIN_MODEL = 2**22
"""Weights of a model below which nothing is gained, and every layer stays as it is."""

MIN_LAYER = 2**15
"""Weights of a layer below which calling oneDNN takes more time than it saves."""

WIDE = 1024
"""Inputs of a layer from which on oneDNN makes the gradient of its weight faster than torch."""

BLOCK = 2**16
"""Numbers to which all of an activation's operations are applied at once: they fit into a cache."""

QUICK = 1.702
"""The factor of quick GELU, x * sigmoid(1.702 x)."""


@dataclass(frozen=True)
class UpdateLayers:
    """The ways in which an update's passes differ from torch's own, each of which can be left out.

    ``products``: by oneDNN where it is faster. ``activations``: made again in the backward pass.
    ``head``: the gradient of log-probabilities is made in the place of the probabilities.
    """

    products: bool = True
    activations: bool = True
    head: bool = True

    @property
    def by_onednn(self) -> bool:
        """Return whether products are oneDNN's, where a model fits."""
        return self.products and onednn.reads_in_place(torch.float32)

    @contextmanager
    def of(self, model: nn.Module, part: nn.Module) -> Iterator[None]:
        """Let a part of a model compute so within, in passes that record gradients.

        A rollout's layout of weights, which has no gradients, is set aside meanwhile. Layers that
        others have changed, by LoRA, quantisation or hooks, stay as they are.
        """
        changed: list[tuple[nn.Module, Any]] = []
        try:
            for module, forward in [*self.forwards(part, faster=fits(model))]:
                changed.append((module, vars(module).get("forward")))
                module.forward = forward
            yield
        finally:
            for module, before in reversed(changed):
                del module.forward
                if before is not None:
                    module.forward = before

    def forwards(
        self, part: nn.Module, *, faster: bool
    ) -> Iterator[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
        """Yield the modules that compute otherwise than at present, and how.

        Unless it is to be ``faster`` they compute as their class does.
        """
        by_onednn = faster and self.by_onednn
        for module in part.modules():
            if is_plain(module):
                layer: Any = module
                if by_onednn and layer.weight.numel() >= MIN_LAYER and is_float32(layer):
                    yield layer, partial(linear, layer)
                elif "forward" in vars(layer):
                    yield layer, partial(torch_linear, layer)
            elif faster and self.activations:
                forward = mlp(module, by_onednn)
                if forward is not None:
                    yield module, forward


def is_float32(layer: nn.Linear) -> bool:
    """Return whether a layer computes in float32, where no autocast is on."""
    return layer.weight.dtype == torch.float32


def fits(model: nn.Module) -> bool:
    """Return whether a model is computed on a CPU in float32, whole, and is worth it."""
    first = next(model.parameters())
    if first.device.type != "cpu" or torch.is_autocast_enabled("cpu") or is_sharded(model):
        return False
    # Layers that are computed again in the backward pass must be so by the same operators.
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        return False
    return sum(weight.numel() for weight in model.parameters()) >= MIN_MODEL


def is_plain(module: nn.Module | None) -> bool:
    """Return whether a layer is torch's own, or laid out for a rollout and nothing else."""
    if type(module) is not nn.Linear:
        return False
    forward = vars(module).get("forward")
    laid_out = isinstance(forward, partial) and forward.func.__module__ == onednn.__name__
    return forward is None or laid_out


def torch_linear(layer: nn.Linear, hidden: Tensor) -> Tensor:
    """Return the layer's output by torch's own product."""
    return F.linear(hidden, layer.weight, layer.bias)


def linear(layer: nn.Linear, hidden: Tensor) -> Tensor:
    """Return the layer's output by oneDNN, with gradients."""
    if not torch.is_grad_enabled():
        return onednn.linear(layer.weight, layer.bias, hidden)
    return Linear.apply(hidden, layer.weight, layer.bias)  # type: ignore[no-any-return, no-untyped-call]


class Linear(torch.autograd.Function):
    """x @ W.T + b of hidden states [..., K], a weight [N, K] and a bias [N] or None, by oneDNN."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return [..., N]."""
        ctx.save_for_backward(hidden, weight)
        ctx.biased = bias is not None
        return onednn.linear(weight, bias, hidden)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of those that need one."""
        hidden, weight = ctx.saved_tensors
        of_hidden = onednn.linear(weight.mT, None, grad) if ctx.needs_input_grad[0] else None
        of_weight = of_bias = None
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(grad.flatten(0, -2), hidden.flatten(0, -2), by_onednn=True)
        if ctx.biased and ctx.needs_input_grad[2]:
            of_bias = grad.flatten(0, -2).sum(0)
        return of_hidden, of_weight, of_bias


def weight_gradient(grad: Tensor, hidden: Tensor, *, by_onednn: bool) -> Tensor:
    """Return the gradient of a weight, grad.T @ hidden, of rows [n, N] and [n, K]: [N, K]."""
    if by_onednn and hidden.shape[1] >= WIDE:
        return onednn.linear(hidden.mT, None, grad.mT)
    return grad.mT @ hidden


GATED, QUICK_MLP = ("gate_proj", "up_proj", "down_proj"), ("fc1", "fc2")
"""Names of an MLP's layers in the order in which they compute, with a gate and without."""


def mlp(module: nn.Module, by_onednn: bool) -> Callable[[Tensor], Tensor] | None:
    """Return the forward of a known MLP that holds no activation; None for any other module."""
    parts = dict(module.named_children())
    activations = [parts.pop(name) for name in ("act_fn", "act") if name in parts]
    names = tuple(parts)
    if len(activations) != 1 or names not in (GATED, QUICK_MLP) or "forward" in vars(module):
        return None
    layers: list[Any] = [*parts.values()]
    last, activation = layers[-1], type(activations[0])
    # Whoever listens to a layer would hear nothing of one that is computed with the activation.
    if not is_plain(last) or not is_float32(last) or last._forward_hooks:
        return None
    if names == GATED and activation in (SiLUActivation, nn.SiLU):
        gate, up, _ = layers
        return partial(gated_mlp, gate, up, last, by_onednn)
    if names == QUICK_MLP and activation is QuickGELUActivation:
        return partial(quick_mlp, layers[0], last, by_onednn)
    return None


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
        of_gate = product(weight.mT, None, grad, ctx.by_onednn)  # of the activation, at first
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
        of_hidden = product(weight.mT, None, grad, ctx.by_onednn)  # of the activation, at first
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
