"""Log-probabilities in one buffer against torch's log_softmax."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vrft.policy import head_logps
from vrft.policy.head_logps import fused_logps


def made(*, bias: bool) -> tuple[Tensor, Tensor, nn.Linear]:
    torch.manual_seed(0)
    head = nn.Linear(12, 50, bias=bias)
    return torch.randn(30, 12, requires_grad=True), torch.randint(50, (30,)), head


def differentiated(logps: Tensor, hidden: Tensor, head: nn.Linear) -> list[Tensor]:
    """Return the values, and the gradients of a weighted sum."""
    inputs = [hidden, *(weight for weight in head.parameters() if weight.requires_grad)]
    weights = torch.linspace(-1, 2, len(logps))
    return [logps.detach(), *torch.autograd.grad((logps * weights).sum(), inputs)]


@pytest.mark.parametrize("held", [2**25, 400, 1], ids=["held", "chunks of 8", "row by row"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_are_those_of_log_softmax(
    temperature: float, bias: bool, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_logps, "HELD", held)
    monkeypatch.setattr(head_logps, "BLOCK", 120)  # two rows at once
    hidden, targets, head = made(bias=bias)
    expected = (head(hidden) / temperature).log_softmax(-1)[torch.arange(30), targets]
    plain = differentiated(expected, hidden, head)
    fused = differentiated(
        fused_logps(hidden, targets, head, temperature, by_onednn=False), hidden, head
    )
    for ours, torch_s in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, torch_s, rtol=1e-6, atol=1e-6)


def test_a_frozen_head_has_no_gradient() -> None:
    hidden, targets, head = made(bias=True)
    head.requires_grad_(False)
    fused_logps(hidden, targets, head, 1.0, by_onednn=False).sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None
    assert head.bias.grad is None


def test_without_gradients_the_values_are_the_same() -> None:
    hidden, targets, head = made(bias=False)
    with_gradients = fused_logps(hidden, targets, head, 1.0, by_onednn=False)
    with torch.no_grad():
        assert torch.equal(fused_logps(hidden, targets, head, 1.0, by_onednn=False), with_gradients)
