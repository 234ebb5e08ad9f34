"""Attention of sequences one after the other: every kernel against plain softmax attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vrft.models import flash
from vrft.models.flash import FlashOnCpu, FlashOnCuda, Kernel, Spans, WrittenOut

HEADS, KEY_HEADS, WIDTH, SCALING = 6, 2, 8, 0.3
CPU = torch.device("cpu")

SPANS = [
    Spans((7,), (7,), True, CPU),
    Spans((3, 1, 5), (3, 1, 5), True, CPU),
    Spans((4, 0, 9), (2, 5, 1), False, CPU),  # a sequence without queries
    Spans((70, 300), (40, 600), False, CPU),  # more than one block of a flash kernel's
]


def states(spans: Spans, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Queries, keys and values of all sequences."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(sum(spans.queries), HEADS), *[(sum(spans.keys), KEY_HEADS)] * 2]
    return [
        torch.randn(*size, WIDTH, dtype=torch.float64, generator=generator).mul(2).to(dtype)
        for size in sizes
    ]


def plain(query: Tensor, key: Tensor, value: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """The output and log-sum-exp as they are defined, which autograd can differentiate."""
    outs, lses = [], []
    for rows, cols in spans:
        repeats = HEADS // KEY_HEADS
        keys = key[cols].repeat_interleave(repeats, 1).transpose(0, 1)
        values = value[cols].repeat_interleave(repeats, 1).transpose(0, 1)
        scores = query[rows].transpose(0, 1) @ keys.mT * SCALING
        if spans.causal:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        outs.append((scores.softmax(-1) @ values).transpose(0, 1))
        lses.append(scores.logsumexp(-1).T)
    return torch.cat(outs), torch.cat(lses)


@pytest.mark.parametrize("kernel", [FlashOnCpu, WrittenOut])
@pytest.mark.parametrize("spans", SPANS, ids=lambda spans: str(spans.queries))
def test_values_and_gradients_are_those_of_plain_attention(
    kernel: type[Kernel], spans: Spans
) -> None:
    inputs = states(spans)
    leaves = [one.clone().requires_grad_() for one in inputs]
    expected, expected_lse = plain(*leaves, spans)
    grad = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator())
    out, lse = kernel.forward(*inputs, spans, SCALING)
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(lse, expected_lse, atol=1e-12)
    found = kernel.backward(grad, *inputs, out, lse, spans, SCALING)
    for one, other in zip(found, torch.autograd.grad(expected, leaves, grad), strict=True):
        assert torch.allclose(one, other, atol=1e-11)
        assert other.abs().max() > 1e-3


def test_the_backward_of_a_part_of_the_keys_is_that_part_of_the_gradient() -> None:
    """Given the output and log-sum-exp over all keys, as merging them needs it."""
    whole = Spans((5,), (9,), False, CPU)
    query, key, value = states(whole)
    out, lse = WrittenOut.forward(query, key, value, whole, SCALING)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator())
    expected = WrittenOut.backward(grad, query, key, value, out, lse, whole, SCALING)
    for kernel in (FlashOnCpu, WrittenOut):
        parts = []
        for cols in (slice(0, 4), slice(4, 9)):
            spans = Spans((5,), (cols.stop - cols.start,), False, CPU)
            kept = key[cols], value[cols]
            parts.append(kernel.backward(grad, query, *kept, out, lse, spans, SCALING))
        assert torch.allclose(parts[0][0] + parts[1][0], expected[0], atol=1e-12)
        for i in (1, 2):
            assert torch.allclose(torch.cat([parts[0][i], parts[1][i]]), expected[i], atol=1e-12)


class Contract:
    """Torch's flash attention on CUDA as its documentation has it, computed plainly."""

    def __init__(self, causal: bool) -> None:
        self.causal = causal

    def spans(self, query_starts: Tensor, key_starts: Tensor, *longest: int) -> Spans:
        assert query_starts.dtype == key_starts.dtype == torch.int32
        lengths = [tuple(starts.diff().tolist()) for starts in (query_starts, key_starts)]
        assert longest == tuple(map(max, lengths))
        return Spans(lengths[0], lengths[1], self.causal, CPU)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, scale: float) -> Any:
        *where, dropout, causal, debug = rest
        assert (dropout, causal, debug) == (0.0, self.causal, False)
        assert scale == SCALING
        out, lse = plain(query, key, value, self.spans(*where))
        nothing = torch.empty(0)
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
        spans = self.spans(*where)
        return WrittenOut.backward(grad, query, key, value, out, lse.T, spans, scale)


@pytest.mark.parametrize("spans", SPANS, ids=lambda spans: str(spans.queries))
def test_flash_on_cuda_is_called_as_its_contract_has_it(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = Contract(spans.causal)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", contract.forward)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_backward", contract.backward)
    inputs = states(spans)
    out, lse = FlashOnCuda.forward(*inputs, spans, SCALING)
    expected, expected_lse = WrittenOut.forward(*inputs, spans, SCALING)
    assert torch.allclose(out, expected) and torch.allclose(lse, expected_lse)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator())
    found = FlashOnCuda.backward(grad, *inputs, out, lse, spans, SCALING)
    wanted = WrittenOut.backward(grad, *inputs, expected, expected_lse, spans, SCALING)
    assert all(torch.allclose(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("spans", SPANS, ids=lambda spans: str(spans.queries))
def test_flash_on_cuda_takes_and_gives_these_shapes(spans: Spans) -> None:
    """By torch's own account of its operators, which needs no GPU."""
    meta = Spans(spans.queries, spans.keys, spans.causal, torch.device("meta"))
    inputs = [one.to("meta") for one in states(spans, torch.bfloat16)]
    out, lse = FlashOnCuda.forward(*inputs, meta, SCALING)
    assert out.shape == inputs[0].shape and out.dtype == torch.bfloat16
    assert lse.shape == out.shape[:2] and lse.dtype == torch.float32
    found = FlashOnCuda.backward(out, *inputs, out, lse, meta, SCALING)
    assert [one.shape for one in found] == [one.shape for one in inputs]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("spans", SPANS, ids=lambda spans: str(spans.queries))
def test_flash_on_cuda_computes_what_is_written_out(spans: Spans) -> None:
    there = Spans(spans.queries, spans.keys, spans.causal, torch.device("cuda"))
    exact = [one.to("cuda") for one in states(spans)]
    inputs = [one.to(torch.bfloat16) for one in exact]
    assert flash.choose(inputs[0]) is FlashOnCuda
    out, lse = FlashOnCuda.forward(*inputs, there, SCALING)
    rounded = [one.double() for one in inputs]
    expected, expected_lse = WrittenOut.forward(*rounded, there, SCALING)
    # bfloat16 keeps 8 bits: 1/256 of values of about 2
    assert torch.allclose(out.double(), expected, atol=0.03)
    assert torch.allclose(lse.double(), expected_lse, atol=0.01)
    grad = torch.randn_like(expected)
    found = FlashOnCuda.backward(grad.bfloat16(), *inputs, out, lse, there, SCALING)
    wanted = WrittenOut.backward(grad, *rounded, expected, expected_lse, there, SCALING)
    for one, other in zip(found, wanted, strict=True):
        assert (one.double() - other).norm() < 0.03 * other.norm()


def test_each_device_and_type_has_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flash.choose(torch.empty(1, 1, 64)) is FlashOnCpu
    assert flash.choose(torch.empty(1, 1, 64, device="meta")) is WrittenOut
    monkeypatch.setattr(flash, "fits_flash", lambda query: True)
    assert flash.choose(torch.empty(1, 1, 64, device="meta")) is FlashOnCuda
