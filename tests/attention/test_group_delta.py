"""Gated delta layers over packed groups against the layer's own forward over repeated rows."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, Qwen3_5MoeTextConfig, Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeGatedDeltaNet

from vrft.attention import group_delta
from vrft.attention.group_attention import GroupLayout
from vrft.attention.group_cache import GroupCache

WIDTH = 32
CPU = torch.device("cpu")
CLASSES: dict[type[PreTrainedConfig], Any] = {
    Qwen3_5TextConfig: Qwen3_5GatedDeltaNet,
    Qwen3_5MoeTextConfig: Qwen3_5MoeGatedDeltaNet,
}

LAYOUTS = [
    GroupLayout((7, 7), CPU, (5, 5, 5, 5)),
    GroupLayout((3, 9, 1), CPU, (4, 2, 0, 6, 1, 1)),  # all of other lengths
    GroupLayout((2, 3), CPU, (0, 0, 1, 1)),  # shorter than the convolution, and a single token
    GroupLayout((1,), CPU, (1,)),
    GroupLayout((4, 2), CPU),  # a rollout's first pass: prompts alone
    GroupLayout((40, 130), CPU, (66, 3, 2, 129)),  # more than one chunk
]


def layer(config_class: type[PreTrainedConfig] = Qwen3_5TextConfig) -> Any:
    """Return a layer of the true class, two value heads to a key head, that forgets slowly.

    As transformers initialises it, a head forgets all within a few tokens, and a wrong state would
    hardly be seen.
    """
    config = config_class(
        hidden_size=WIDTH,
        linear_key_head_dim=8,
        linear_value_head_dim=12,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        delta = CLASSES[config_class](config, 0)
        nn.init.uniform_(delta.A_log, -5, 0)
    return delta


def installed(delta: Any) -> Any:
    """Return a copy of a layer that reads packed rows."""
    decoder, inner = nn.Module(), nn.Module()
    inner.linear_attn = copy.deepcopy(delta)
    decoder.layers = nn.ModuleList([nn.Module(), inner])
    group_delta.install(decoder)
    return inner.linear_attn


def row(layout: GroupLayout) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    tokens = layout.prompt_tokens + sum(layout.completions)
    return torch.randn(1, tokens, WIDTH, generator=generator).mul(2).requires_grad_()


def repeated(delta: Any, layout: GroupLayout, hidden: Tensor) -> Tensor:
    """Pass each prompt, and each completion behind a copy of its prompt, as a row of its own."""
    prompts = hidden[0, : layout.prompt_tokens].split(layout.prompts)
    completions = hidden[0, layout.prompt_tokens :].split(layout.completions)
    rows = [delta(prompt.unsqueeze(0))[0] for prompt in prompts]
    for number, completion in enumerate(completions):
        prompt = prompts[number // layout.generations]
        out = delta(torch.cat([prompt, completion]).unsqueeze(0))[0]
        rows.append(out[len(prompt) :])
    return torch.cat(rows).unsqueeze(0)


def difference(a: Tensor, b: Tensor) -> float:
    """Return the relative distance of two tensors."""
    return float((a - b).detach().norm() / b.detach().norm())


@pytest.mark.parametrize("config_class", CLASSES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: f"{one.prompts}-{one.completions}")
def test_a_packed_row_gives_the_values_and_gradients_of_repeated_rows(
    layout: GroupLayout, config_class: type[PreTrainedConfig]
) -> None:
    plain, hidden = layer(config_class), row(layout)
    shared = installed(plain)
    expected = repeated(plain, layout, hidden)
    # A weight of its own for every number: errors of different tokens do not cancel out.
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad((expected * weights).sum(), [hidden, *plain.parameters()])
    packed = shared(hidden, layout=layout, use_cache=False, attention_mask=None)
    found = torch.autograd.grad((packed * weights).sum(), [hidden, *shared.parameters()])
    assert difference(packed, expected) < 1e-5
    for one, other in zip(found, wanted, strict=True):
        assert difference(one, other) < 1e-5


def test_the_end_of_a_prompt_matters_to_its_completions() -> None:
    """Make sure that the equality above would notice another state, or other last inputs."""
    layout = LAYOUTS[0]
    plain, hidden = layer(), row(layout).detach()
    expected = repeated(plain, layout, hidden)[0]
    alone = torch.cat([plain(one.unsqueeze(0))[0] for one in hidden[0].split((7, 7, 5, 5, 5, 5))])
    swapped = torch.cat([hidden[:, 7:14], hidden[:, :7], hidden[:, 14:]], dim=1)
    others = repeated(plain, layout, swapped)[0]
    for wrong in (alone, others):
        for first in (14, 19, 24, 29):
            at_last = slice(first + 4, first + 5)  # beyond the reach of the convolution
            assert difference(wrong[at_last], expected[at_last]) > 0.05


def test_no_token_reads_another_row() -> None:
    layout = GroupLayout((4, 6), CPU, (2, 3, 2, 2))
    shared, hidden = installed(layer()), row(layout).detach()
    before = shared(hidden, layout=layout)[0]
    changed = hidden.clone()
    changed[0, 4:10] = 50.0  # the second prompt, with which the first is padded to six tokens
    changed[0, 12:15] = 50.0  # the second completion of the first
    after = shared(changed, layout=layout)[0]
    same = [*range(4), 10, 11]  # the first prompt and its first completion
    assert torch.equal(after[same], before[same])
    others = [i for i in range(4, len(before)) if i not in same]
    assert not torch.isclose(after[others], before[others]).all(1).any()


def test_padding_leaves_a_state_exactly_as_it_is() -> None:
    """Read a prompt beside a longer one: its last state is that of the prompt alone."""
    shared, hidden = installed(layer()), row(GroupLayout((5, 50), CPU)).detach()
    together, alone = (GroupCache(lengths, 1, 8, CPU) for lengths in ([5, 50], [5]))
    with torch.no_grad():
        shared(hidden, layout=GroupLayout((5, 50), CPU), group_cache=together)
        shared(hidden[:, :5], layout=GroupLayout((5,), CPU), group_cache=alone)
    for one, other in zip(together.delta_states[0], alone.delta_states[0], strict=True):
        assert difference(one[:1], other) < 1e-6


def test_decoding_goes_on_as_one_longer_row_whichever_rows_have_ended() -> None:
    layout, generations = GroupLayout((5, 2), CPU), 3
    plain, hidden = layer(), row(GroupLayout((5, 2), CPU)).detach()
    shared, cache = installed(plain), GroupCache(layout.prompts, generations, 8, CPU)
    texts = [prompt for prompt in hidden[0].split(layout.prompts) for _ in range(generations)]
    active = torch.arange(len(texts))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        out = shared(hidden, layout=layout, group_cache=cache)
        assert difference(out, repeated(plain, layout, hidden)) < 1e-5
        for step in range(6):
            if step in (2, 4):  # one row ends, then a whole prompt
                rows = torch.tensor([0, 2, 3, 4, 5] if step == 2 else [0, 1])
                cache.keep(rows)
                active = active[rows]
            tokens = torch.randn(len(texts), 1, WIDTH, generator=generator).mul(2)
            texts = [torch.cat(pair) for pair in zip(texts, tokens, strict=True)]
            found = shared(tokens[active], group_cache=cache)
            for number, one in zip(active.tolist(), found, strict=True):
                assert difference(one, plain(texts[number].unsqueeze(0))[0, -1:]) < 1e-5
    assert [len(state) for state in cache.delta_states[0]] == [2, 2]


def test_autocast_rounds_projections_but_not_the_state() -> None:
    layout = GroupLayout((90, 40), CPU, (70, 5, 30, 80))
    plain, hidden = layer(), row(layout).detach()
    shared = installed(plain)
    exact = shared(hidden, layout=layout)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = shared(hidden, layout=layout)
        own = repeated(plain, layout, hidden)
    # bfloat16 keeps 8 bits; the layer's own forward rounds the products of the rule as well
    assert difference(rounded.float(), exact) < 0.02
    assert difference(rounded.float(), exact) < difference(own.float(), exact)
    cache = GroupCache(layout.prompts, 1, 8, CPU)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        shared(hidden[:, :130], layout=GroupLayout(layout.prompts, CPU), group_cache=cache)
    assert cache.delta_states[0][1].dtype == torch.float32


def test_without_a_layout_the_layer_is_transformers_own() -> None:
    plain = layer()
    hidden, mask = row(GroupLayout((6,), CPU)).detach(), torch.ones(1, 6, dtype=torch.long)
    assert torch.equal(installed(plain)(hidden, attention_mask=mask), plain(hidden))


def test_a_copy_of_an_installed_layer_reads_its_own_weights() -> None:
    layout = LAYOUTS[0]
    first, hidden = installed(layer()), row(LAYOUTS[0]).detach()
    second = copy.deepcopy(first)
    with torch.no_grad():
        first.out_proj.weight.zero_()
    assert not first(hidden, layout=layout).any()
    assert second(hidden, layout=layout).all()


FUNCTIONS = (
    "causal_conv1d_fn", "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule",
)  # fmt: skip


@pytest.mark.parametrize("config_class", CLASSES, ids=lambda one: one.__name__)
def test_kernels_are_for_a_gpu_alone(
    config_class: type[PreTrainedConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that is installed must not be asked to read tensors of a CPU."""
    delta, file = layer(config_class), sys.modules[CLASSES[config_class].__module__]
    expected = {name: inspect.unwrap(getattr(file, name)) for name in FUNCTIONS}

    for name, plain in expected.items():

        @functools.wraps(plain)
        def kernel(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no such device")

        monkeypatch.setattr(file, name, kernel)
        assert group_delta.function(delta, name, "cuda") is kernel
        assert group_delta.function(delta, name, "cpu") is plain
    layout = LAYOUTS[0]
    assert installed(delta)(row(layout), layout=layout).shape == (1, 34, WIDTH)
