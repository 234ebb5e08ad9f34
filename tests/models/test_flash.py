"""Attention of packed sequences: every kernel against plain softmax attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from vrft.models import flash
from vrft.models.flash import (
    FLASH_ON_CPU,
    FLASH_ON_CUDA,
    PLAIN_ATTENTION,
    Kernel,
    PerSequence,
    SequenceLayout,
)

HEADS, KEY_HEADS, WIDTH, SCALING = 6, 2, 8, 0.3
CPU = torch.device("cpu")

LAYOUTS = [
    SequenceLayout((7,), (7,), True, CPU),
    SequenceLayout((3, 1, 5), (3, 1, 5), True, CPU),
    SequenceLayout((4, 0, 9), (2, 5, 1), False, CPU),  # a sequence without queries
    SequenceLayout((70, 300), (40, 600), False, CPU),  # more than one block of a flash kernel's
]

# by the queries' lengths, which differ in all of them
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: str(one.query_lengths))


def states(layout: SequenceLayout, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return queries [T, H, D], keys and values [S, K, D] of all sequences."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(sum(layout.query_lengths), HEADS), *[(sum(layout.key_lengths), KEY_HEADS)] * 2]
    return [
        torch.randn(*size, WIDTH, dtype=torch.float64, generator=generator).mul(2).to(dtype)
        for size in sizes
    ]


def by_definition(
    query: Tensor, key: Tensor, value: Tensor, layout: SequenceLayout
) -> tuple[Tensor, Tensor]:
    """Return the output and log-sum-exps as they are defined, which autograd differentiates."""
    outs, lses = [], []
    by_sequence = zip(
        query.split(layout.query_lengths),
        *(states.split(layout.key_lengths) for states in (key, value)),
        strict=True,
    )
    for q, k, v in by_sequence:
        keys = k.repeat_interleave(HEADS // KEY_HEADS, 1).transpose(0, 1)
        values = v.repeat_interleave(HEADS // KEY_HEADS, 1).transpose(0, 1)
        scores = q.transpose(0, 1) @ keys.mT * SCALING
        if layout.causal:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        outs.append((scores.softmax(-1) @ values).transpose(0, 1))
        lses.append(scores.logsumexp(-1).T)
    return torch.cat(outs), torch.cat(lses)


@pytest.mark.parametrize("kernel", [FLASH_ON_CPU, PLAIN_ATTENTION], ids=["flash", "plain"])
@each_layout
def test_values_and_gradients_are_those_of_plain_attention(
    kernel: Kernel, layout: SequenceLayout
) -> None:
    inputs = states(layout)
    leaves = [state.clone().requires_grad_() for state in inputs]
    expected, expected_lse = by_definition(*leaves, layout)
    # Not ones: the gradient of a sum of outputs hides errors that add up to 0.
    grad = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator())
    out, lse = kernel.forward(*inputs, layout, SCALING)
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(lse, expected_lse, atol=1e-12)
    gradients = kernel.backward(grad, *inputs, out, lse, layout, SCALING)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, leaves, grad), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-11)
        assert theirs.abs().max() > 1e-3  # the comparison is not one of zeros


def test_the_backward_of_a_part_of_the_keys_is_that_part_of_the_gradient() -> None:
    """Give each part the output and log-sum-exps over all keys, as merging the parts does."""
    all_keys = SequenceLayout((5,), (9,), False, CPU)
    query, key, value = states(all_keys)
    out, lse = PLAIN_ATTENTION.forward(query, key, value, all_keys, SCALING)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator())
    expected = PLAIN_ATTENTION.backward(grad, query, key, value, out, lse, all_keys, SCALING)
    for kernel in (FLASH_ON_CPU, PLAIN_ATTENTION):
        parts = []
        for cols in (slice(0, 4), slice(4, 9)):  # as the prompt's keys and a completion's own
            layout = SequenceLayout((5,), (cols.stop - cols.start,), False, CPU)
            parts.append(
                kernel.backward(grad, query, key[cols], value[cols], out, lse, layout, SCALING)
            )
        assert torch.allclose(parts[0][0] + parts[1][0], expected[0], atol=1e-12)
        for i in (1, 2):
            assert torch.allclose(torch.cat([parts[0][i], parts[1][i]]), expected[i], atol=1e-12)


def test_log_sum_exps_of_half_precision_are_float32() -> None:
    inputs = states(LAYOUTS[1], torch.bfloat16)
    for kernel in (FLASH_ON_CPU, PLAIN_ATTENTION):
        out, lse = kernel.forward(*inputs, LAYOUTS[1], SCALING)
        assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)


class Contract:
    """Torch's flash attention on CUDA as its documentation has it, computed plainly."""

    def __init__(self, causal: bool) -> None:
        self.causal = causal

    def layout(self, query_starts: Tensor, key_starts: Tensor, *longest: int) -> SequenceLayout:
        assert query_starts.dtype == key_starts.dtype == torch.int32
        lengths = [tuple(starts.diff().tolist()) for starts in (query_starts, key_starts)]
        assert longest == tuple(map(max, lengths))  # shorter, the kernel would skip tokens
        return SequenceLayout(lengths[0], lengths[1], self.causal, CPU)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, scale: float) -> Any:
        *where, dropout, causal, debug = rest
        assert (dropout, causal, debug) == (0.0, self.causal, False)
        assert scale == SCALING
        out, lse = by_definition(query, key, value, self.layout(*where))
        nothing = torch.empty(0)  # the state of dropout and the debug mask
        return out, lse.T.contiguous(), nothing, nothing, nothing

    def backward(
        self,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        lse: Tensor,
        *rest: Any,
        scale: float,
    ) -> Any:
        *where, dropout, causal, _, _ = rest
        assert (dropout, causal, scale) == (0.0, self.causal, SCALING)
        assert lse.shape == (HEADS, len(query)) and lse.is_contiguous()
        layout = self.layout(*where)
        return PLAIN_ATTENTION.backward(grad, query, key, value, out, lse.T, layout, scale)


@each_layout
def test_flash_on_cuda_is_called_as_its_contract_has_it(
    layout: SequenceLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = Contract(layout.causal)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", contract.forward)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_backward", contract.backward)
    inputs = states(layout)
    out, lse = FLASH_ON_CUDA.forward(*inputs, layout, SCALING)
    expected, expected_lse = PLAIN_ATTENTION.forward(*inputs, layout, SCALING)
    assert torch.allclose(out, expected) and torch.allclose(lse, expected_lse)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator())
    ours = FLASH_ON_CUDA.backward(grad, *inputs, out, lse, layout, SCALING)
    plain = PLAIN_ATTENTION.backward(grad, *inputs, expected, expected_lse, layout, SCALING)
    assert all(torch.allclose(a, b) for a, b in zip(ours, plain, strict=True))


@each_layout
def test_flash_on_cuda_takes_and_gives_these_shapes(layout: SequenceLayout) -> None:
    """Ask torch's own account of its operators, which needs no GPU."""
    meta = SequenceLayout(
        layout.query_lengths, layout.key_lengths, layout.causal, torch.device("meta")
    )
    inputs = [state.to("meta") for state in states(layout, torch.bfloat16)]
    out, lse = FLASH_ON_CUDA.forward(*inputs, meta, SCALING)
    assert out.shape == inputs[0].shape and out.dtype == torch.bfloat16
    assert lse.shape == out.shape[:2] and lse.dtype == torch.float32
    gradients = FLASH_ON_CUDA.backward(out, *inputs, out, lse, meta, SCALING)
    assert [gradient.shape for gradient in gradients] == [state.shape for state in inputs]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_layout
def test_flash_on_cuda_computes_what_plain_products_do(layout: SequenceLayout) -> None:
    there = SequenceLayout(
        layout.query_lengths, layout.key_lengths, layout.causal, torch.device("cuda")
    )
    exact = [state.to("cuda") for state in states(layout)]
    inputs = [state.to(torch.bfloat16) for state in exact]
    assert flash.kernel_for(inputs[0]) is FLASH_ON_CUDA
    out, lse = FLASH_ON_CUDA.forward(*inputs, there, SCALING)
    rounded = [state.double() for state in inputs]
    expected, expected_lse = PLAIN_ATTENTION.forward(*rounded, there, SCALING)
    # bfloat16 keeps 8 bits: 1/256 of values of about 2
    assert torch.allclose(out.double(), expected, atol=0.03)
    assert torch.allclose(lse.double(), expected_lse, atol=0.01)
    grad = torch.randn_like(expected)
    ours = FLASH_ON_CUDA.backward(grad.bfloat16(), *inputs, out, lse, there, SCALING)
    plain = PLAIN_ATTENTION.backward(grad, *rounded, expected, expected_lse, there, SCALING)
    for a, b in zip(ours, plain, strict=True):
        assert (a.double() - b).norm() < 0.03 * b.norm()


def test_each_device_and_type_has_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flash.kernel_for(torch.empty(1, 1, 64)) is FLASH_ON_CPU
    assert flash.kernel_for(torch.empty(1, 1, 64, device="meta")) is PLAIN_ATTENTION
    monkeypatch.setattr(flash, "fits_cuda_flash", lambda query: True)
    assert flash.kernel_for(torch.empty(1, 1, 64, device="meta")) is FLASH_ON_CUDA


@pytest.fixture
def no_memory_of_probes() -> Iterator[None]:
    """Let operators be tried anew within the test, and again after it."""
    flash.has_cuda_operators.cache_clear()
    yield
    flash.has_cuda_operators.cache_clear()


def test_a_torch_without_the_cpus_operators_gives_the_same_values_by_plain_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = LAYOUTS[1]
    inputs = states(layout)
    out, lse = flash.flash_on_cpu().forward(*inputs, layout, SCALING)
    monkeypatch.setattr(flash, "CPU_OPERATORS", ("_gone", "_gone_backward"))
    without = flash.flash_on_cpu()
    assert without is PLAIN_ATTENTION and FLASH_ON_CPU is not PLAIN_ATTENTION
    plain_out, plain_lse = without.forward(*inputs, layout, SCALING)
    assert torch.allclose(plain_out, out, atol=1e-12)
    assert torch.allclose(plain_lse, lse, atol=1e-12)


def test_an_operator_of_another_signature_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # SDPA's own operator has a mask where ours has the dropout, and returns one tensor.
    other = "scaled_dot_product_attention"
    monkeypatch.setattr(flash, "CPU_OPERATORS", (other, flash.CPU_OPERATORS[1]))
    assert flash.flash_on_cpu() is PLAIN_ATTENTION


@pytest.mark.usefixtures("no_memory_of_probes")
def test_cudas_operators_are_tried_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flash.has_cuda_operators()
    flash.has_cuda_operators.cache_clear()
    monkeypatch.setattr(flash, "CUDA_OPERATORS", ("_gone", "_gone_backward"))
    assert not flash.has_cuda_operators()
    assert isinstance(flash.kernel_for(torch.empty(1, 1, 64, device="meta")), PerSequence)
