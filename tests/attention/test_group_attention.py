"""Attention over packed groups against plain attention over each completion's own row."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrft.attention import flash, group_attention
from vrft.attention.group_attention import GroupAttention, GroupLayout
from vrft.attention.packed_attention import PLAIN_ATTENTION

HEADS, KEY_HEADS, WIDTH, SCALING = 4, 2, 8, 0.3
CPU = torch.device("cpu")

LAYOUTS = [
    GroupLayout((7, 7), CPU, (5, 5, 5, 5)),
    GroupLayout((3, 9, 1), CPU, (4, 2, 0, 6, 1, 1)),  # all of other lengths
    GroupLayout((2, 3), CPU, (0, 0, 2, 1)),  # one group's completions are of a single token
    GroupLayout((1,), CPU, (1,)),
    GroupLayout((4, 2), CPU),  # a rollout's first pass: prompts alone
    GroupLayout((40, 600), CPU, (33, 300)),  # more than one block of a flash kernel's
]


def states(layout: GroupLayout) -> list[Tensor]:
    """Return queries, keys and values of a packed row, in double precision."""
    generator = torch.Generator().manual_seed(0)
    tokens = layout.prompt_tokens + sum(layout.completions)
    return [
        torch.randn(tokens, heads, WIDTH, dtype=torch.float64, generator=generator)
        .mul(2)
        .requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def repeated(layout: GroupLayout, states: list[Tensor]) -> Tensor:
    """Attend in a causal row of each prompt, and of each completion behind a copy of its prompt."""
    cut = layout.prompt_tokens
    prompts = [state[:cut].split(layout.prompts) for state in states]
    own = [state[cut:].split(layout.completions) for state in states]
    rows = [causal(*parts) for parts in zip(*prompts, strict=True)]
    for number, length in enumerate(layout.completions):
        prompt = number // layout.generations
        joined = [torch.cat([prompts[i][prompt], own[i][number]]) for i in range(3)]
        rows.append(causal(*joined)[len(joined[0]) - length :])
    return torch.cat(rows)


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (one.transpose(0, 1).unsqueeze(0) for one in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALING, enable_gqa=True)
    return out[0].transpose(0, 1)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: f"{one.prompts}-{one.completions}")
def test_a_packed_row_gives_the_values_and_gradients_of_repeated_rows(layout: GroupLayout) -> None:
    inputs = states(layout)
    expected = repeated(layout, inputs)
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator())
    wanted = torch.autograd.grad((expected * weights).sum(), inputs)
    packed = GroupAttention.apply(layout, SCALING, *inputs)
    found = torch.autograd.grad((packed * weights).sum(), inputs)
    assert torch.allclose(packed, expected, atol=1e-12)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
        assert other.abs().max() > 1e-3


def test_every_kernel_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS[1]
    inputs = states(layout)
    expected = GroupAttention.apply(layout, SCALING, *inputs)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    monkeypatch.setattr(flash, "kernel_for", lambda query: PLAIN_ATTENTION)
    other = GroupAttention.apply(layout, SCALING, *inputs)
    found = torch.autograd.grad(other.square().sum(), inputs)
    assert torch.allclose(other, expected, atol=1e-12)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(found, wanted, strict=True))


def test_half_precision_is_merged_in_full_precision() -> None:
    layout = LAYOUTS[0]
    exact = states(layout)
    inputs = [one.detach().bfloat16().requires_grad_() for one in exact]
    rounded = [one.double().detach().requires_grad_() for one in inputs]
    found = GroupAttention.apply(layout, SCALING, *inputs)
    expected = repeated(layout, rounded)
    assert found.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits: half of 1/256 of values of about 4
    assert torch.allclose(found.double(), expected, atol=0.02)


def test_a_completion_does_not_read_its_siblings_nor_another_prompt() -> None:
    layout = GroupLayout((4, 3), CPU, (2, 2, 2, 2))
    inputs = [one.detach() for one in states(layout)]
    before = GroupAttention.apply(layout, SCALING, *inputs)
    for one in inputs[1:]:
        one[4:7] = 100.0  # the second prompt
        one[9:11] = 100.0  # the second completion of the first
    after = GroupAttention.apply(layout, SCALING, *inputs)
    same = [*range(4), 7, 8]  # the first prompt and its first completion
    assert torch.equal(after[same], before[same])
    others = [i for i in range(4, len(before)) if i not in same]
    assert not torch.isclose(after[others], before[others]).flatten(1).all(1).any()


def test_queries_and_keys_that_rotation_has_widened_are_of_the_values_type() -> None:
    """Do as under autocast, where the product with float32 cosines is float32."""
    layout = LAYOUTS[0]
    query, key, value = (
        one.detach().float().transpose(0, 1).unsqueeze(0) for one in states(layout)
    )
    module = torch.nn.Module()
    found, _ = group_attention.attend(
        module, query, key, value.bfloat16(), None, layout=layout, scaling=SCALING
    )
    assert found.dtype == torch.bfloat16 and found.shape == (
        1,
        layout.prompt_tokens + 20,
        HEADS,
        WIDTH,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_types": ["sliding_attention"], "attention_dropout": 0.0},
        {"layer_types": ["full_attention"], "attention_dropout": 0.1},
    ],
)
def test_a_decoder_that_attends_otherwise_is_refused(settings: dict[str, object]) -> None:
    module = torch.nn.Module()
    module.config = SimpleNamespace(**settings)
    with pytest.raises(NotImplementedError, match="full attention without dropout"):
        group_attention.install(module)
