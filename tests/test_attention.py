"""Attention over a group: both ways of computing it against each other, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vrft.attention import GroupLayout, merged_halves, one_masked_product

HEADS, WIDTH = 3, 8


def states(layout: GroupLayout, seed: int) -> list[Tensor]:
    """Queries, keys and values of prompts and completions, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    batch, own = len(layout.prompt_lengths), layout.generations * layout.completion
    widths = (own, layout.prompt, layout.prompt, own, own)
    return [
        torch.randn(batch, HEADS, width, WIDTH, dtype=torch.float64, generator=generator)
        .mul(2)
        .requires_grad_()
        for width in widths
    ]


@pytest.mark.parametrize(
    ("prompt", "completion", "generations", "lengths"),
    [
        (7, 5, 4, [7, 7]),  # no padding
        (7, 5, 4, [3, 7, 1]),  # padded prompts
        (1, 1, 1, [1]),
        (40, 33, 2, [39]),  # more than one block of the kernel's
    ],
)
def test_the_two_halves_merge_into_the_masked_product(
    prompt: int, completion: int, generations: int, lengths: list[int]
) -> None:
    layout = GroupLayout(prompt, completion, generations, torch.tensor(lengths))
    inputs = states(layout, seed=prompt)
    masked = one_masked_product(layout, 0.3, *inputs)
    weights = torch.randn(masked.shape, dtype=torch.float64, generator=torch.Generator())
    expected = torch.autograd.grad((masked * weights).sum(), inputs)
    merged = merged_halves(layout, 0.3, *inputs)
    found = torch.autograd.grad((merged * weights).sum(), inputs)
    assert torch.allclose(merged, masked, atol=1e-12)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
        assert other.abs().max() > 1e-3


def test_a_completion_reads_neither_padding_nor_its_siblings() -> None:
    layout = GroupLayout(6, 4, 2, torch.tensor([4]))
    inputs = [one.detach() for one in states(layout, seed=0)]
    before = merged_halves(layout, 0.3, *inputs)
    for prompt_states in inputs[1:3]:
        prompt_states[:, :, 4:] = 100.0  # padding of the prompt
    for own in inputs[3:]:
        own[:, :, 4:] = 100.0  # the second completion
    after = merged_halves(layout, 0.3, *inputs)
    assert torch.equal(after[:, :, :4], before[:, :, :4])
    assert not torch.allclose(after[:, :, 4:], before[:, :, 4:])
