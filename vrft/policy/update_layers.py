"""Layers as an update on a CPU computes them: products by oneDNN, activations made again.

Values and gradients are those of torch's own layers but for rounding.
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
from vrft.policy.recomputed_mlp import gated_mlp, quick_mlp, weight_gradient

MIN_MODEL = 2**22
"""Weights of a model below which nothing is gained, and every layer stays as it is."""

MIN_LAYER = 2**15
"""Weights of a layer below which calling oneDNN takes more time than it saves."""


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
        """Yield each module whose forward changes, with the new one.

        Unless it is to be ``faster``, the new one is that of its class.
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
    # A hook on the last layer would not run: the layer is computed together with the activation.
    if not is_plain(last) or not is_float32(last) or last._forward_hooks:
        return None
    if names == GATED and activation in (SiLUActivation, nn.SiLU):
        gate, up, _ = layers
        return partial(gated_mlp, gate, up, last, by_onednn)
    if names == QUICK_MLP and activation is QuickGELUActivation:
        return partial(quick_mlp, layers[0], last, by_onednn)
    return None
