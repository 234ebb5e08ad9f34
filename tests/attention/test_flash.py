"""The choice of a kernel, and the CPU's flash attention against plain products."""

from __future__ import annotations

import pytest
import torch
from fakes.packed_rows import LAYOUTS, SCALING, gradient, states

from vrft.attention import cuda_flash, flash
from vrft.attention.flash import FLASH_ON_CPU
from vrft.attention.packed_attention import PLAIN_ATTENTION, SequenceLayout

# by the queries' lengths, which differ in all of them
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: str(one.query_lengths))


@each_layout
def test_the_cpus_flash_attention_gives_values_and_gradients_of_plain_products(
    layout: SequenceLayout,
) -> None:
    inputs = states(layout)
    expected, expected_lse = PLAIN_ATTENTION.forward(*inputs, layout, SCALING)
    out, lse = FLASH_ON_CPU.forward(*inputs, layout, SCALING)
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(lse, expected_lse, atol=1e-12)
    # As if other keys, unseen here, had a part of every query's attention.
    merged = out * 0.5, lse + 0.5
    ours = FLASH_ON_CPU.backward(gradient(out), *inputs, *merged, layout, SCALING)
    theirs = PLAIN_ATTENTION.backward(gradient(out), *inputs, *merged, layout, SCALING)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(ours, theirs, strict=True))


def test_log_sum_exps_of_half_precision_are_float32() -> None:
    out, lse = FLASH_ON_CPU.forward(*states(LAYOUTS[1], torch.bfloat16), LAYOUTS[1], SCALING)
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)


def test_each_device_and_type_has_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flash.kernel_for(torch.empty(1, 1, 64)) is FLASH_ON_CPU
    assert flash.kernel_for(torch.empty(1, 1, 64, device="meta")) is PLAIN_ATTENTION
    monkeypatch.setattr(cuda_flash, "serves", lambda query: True)
    assert flash.kernel_for(torch.empty(1, 1, 64, device="meta")) is cuda_flash.chosen()
    monkeypatch.setattr(cuda_flash, "chosen", lambda: None)
    assert flash.kernel_for(torch.empty(1, 1, 64, device="meta")) is PLAIN_ATTENTION


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
