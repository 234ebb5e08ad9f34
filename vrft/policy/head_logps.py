"""Log-probabilities of tokens from hidden states, with one buffer of the vocabulary's width.

Torch's own operators hold log-probabilities [n, V] for the backward pass and make two more tensors
of that size in it. Here probabilities are held, and become the gradient of the logits in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vrft.policy.recomputed_mlp import BLOCK, product

HELD = 2**25
"""Probabilities that may be held for the backward pass: 128 MiB in float32."""


def fused_logps(
    hidden: Tensor, targets: Tensor, head: nn.Linear, temperature: float, by_onednn: bool
) -> Tensor:
    """Return log softmax(head(hidden) / temperature) at the targets: [N, D], [N] -> [N].

    The tokens are taken in chunks of HELD probabilities. Those of the last chunk are held, as the
    backward pass begins with it; those of earlier ones are made again.
    """
    rows = max(1, HELD // head.out_features)
    parts = [*zip(hidden.split(rows), targets.split(rows), strict=True)]
    logps = [
        HeadLogps.apply(  # type: ignore[no-untyped-call]
            h, head.weight, head.bias, t, temperature, by_onednn, number == len(parts)
        )
        for number, (h, t) in enumerate(parts, 1)
    ]
    return torch.cat(logps)


class HeadLogps(torch.autograd.Function):
    """log softmax(h @ W.T / temperature) at one target of each row, for a single backward pass.

    Of hidden states [n, D], a weight [V, D], a bias [V] or None and targets [n]: [n]. Unless the
    probabilities are ``held``, the backward pass makes them again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        by_onednn: bool,
        held: bool,
    ) -> Tensor:
        """Return the log-probabilities [n]."""
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.temperature, ctx.by_onednn = temperature, by_onednn
        probabilities, logps = distributions(
            product(weight, bias, hidden, by_onednn), targets, temperature
        )
        # No saved tensor, as it is overwritten: torch would have to refuse that.
        ctx.probabilities = probabilities if held else None
        return logps

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of hidden states, weight and bias; the other inputs have none."""
        hidden, weight, bias, targets = ctx.saved_tensors
        of_logits, ctx.probabilities = ctx.probabilities, None
        if of_logits is None:
            logits = product(weight, bias, hidden, ctx.by_onednn)
            of_logits, _ = distributions(logits, targets, ctx.temperature)
        # The derivative of logit v is (1 - p) / temperature at the target, else -p / temperature.
        scale = (grad / ctx.temperature).unsqueeze(1)
        for part, rows in zip(of_logits.split(row_block(weight)), scale.split(row_block(weight)),
                              strict=True):  # fmt: skip
            part.mul_(-rows)
        of_logits.scatter_add_(1, targets.unsqueeze(1), scale)
        of_hidden = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_hidden = product(weight.mT, None, of_logits, ctx.by_onednn)
        if ctx.needs_input_grad[1]:
            of_weight = of_logits.mT @ hidden
        if bias is not None and ctx.needs_input_grad[2]:
            of_bias = of_logits.sum(0)
        return of_hidden, of_weight, of_bias, None, None, None, None


def row_block(weight: Tensor) -> int:
    """Return the rows of logits to which all operations are applied at once."""
    return max(1, BLOCK // len(weight))


def distributions(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return softmax(logits / temperature) [n, V], in the place of the logits, and the targets'
    log-probabilities [n]."""
    logps = logits.new_empty(len(logits))
    rows = max(1, BLOCK // logits.shape[1])
    parts = zip(logits.split(rows), targets.split(rows), logps.split(rows), strict=True)
    for part, chosen, out in parts:
        if temperature != 1:
            part /= temperature
        log_softmax = part.log_softmax(-1)
        out.copy_(log_softmax.gather(1, chosen.unsqueeze(1)).squeeze(1))
        torch.exp(log_softmax, out=part)
    return logits, logps
