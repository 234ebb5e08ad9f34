"""MLPs whose activation is made again against torch's: the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import QuickGELUActivation

from vrft.policy import onednn, recomputed_mlp
from vrft.policy.recomputed_mlp import gated_mlp, quick_mlp

HIDDEN, INNER = 24, 40

BY_ONEDNN = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            not onednn.reads_in_place(torch.float32), reason="needs oneDNN on an x86 processor"
        ),
    ),
]


@pytest.fixture(autouse=True)
def small_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let oneDNN make the weight's gradient, and an activation be several blocks."""
    monkeypatch.setattr(recomputed_mlp, "WIDE", INNER)
    monkeypatch.setattr(recomputed_mlp, "BLOCK", 7)  # no divisor of any size


def layers(*, bias: bool) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """Return gate, up and down."""
    torch.manual_seed(0)
    return (
        nn.Linear(HIDDEN, INNER, bias=bias),
        nn.Linear(HIDDEN, INNER, bias=bias),
        nn.Linear(INNER, HIDDEN, bias=bias),
    )


def differentiated(
    forward: Callable[[Tensor], Tensor], parts: tuple[nn.Linear, ...]
) -> list[Tensor]:
    """Return the output, and the gradients of a weighted sum of it."""
    hidden = torch.randn(2, 3, HIDDEN, generator=torch.Generator().manual_seed(1))
    inputs = [hidden.requires_grad_(), *(w for part in parts for w in part.parameters())]
    out = forward(hidden)
    weights = torch.linspace(-1, 2, out.numel()).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("by_onednn", BY_ONEDNN)
def test_a_gated_mlp_has_torch_s_values_and_gradients(by_onednn: bool, bias: bool) -> None:
    gate, up, down = parts = layers(bias=bias)
    expected = differentiated(lambda hidden: down(F.silu(gate(hidden)) * up(hidden)), parts)
    ours = differentiated(lambda hidden: gated_mlp(gate, up, down, by_onednn, hidden), parts)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("by_onednn", BY_ONEDNN)
def test_a_quick_mlp_has_torch_s_values_and_gradients(by_onednn: bool, bias: bool) -> None:
    first, _, last = layers(bias=bias)
    activation = QuickGELUActivation()
    expected = differentiated(lambda hidden: last(activation(first(hidden))), (first, last))
    ours = differentiated(lambda hidden: quick_mlp(first, last, by_onednn, hidden), (first, last))
    torch.testing.assert_close(ours, expected)


def test_frozen_last_layers_have_no_gradient() -> None:
    gate, up, down = layers(bias=True)
    down.requires_grad_(False)
    hidden = torch.randn(5, HIDDEN)
    gated_mlp(gate, up, down, False, hidden).sum().backward()  # type: ignore[no-untyped-call]
    quick_mlp(gate, down, False, hidden).sum().backward()  # type: ignore[no-untyped-call]
    assert gate.weight.grad is not None
    assert down.weight.grad is None
    assert down.bias.grad is None
