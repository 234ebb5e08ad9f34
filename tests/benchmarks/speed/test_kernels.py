"""benchmarks/speed/kernels.py: kernels are those of a step, with the operations of the limit."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import torch
from fakes.race import SMALL

from benchmarks.speed import kernels
from benchmarks.speed.kernels import Kernel


@torch.no_grad()
def test_a_layer_is_called_as_a_step_calls_it() -> None:
    decode, update, gradient = kernels.layer_calls(8, 4)
    assert decode.operations == 16 * 2 * 8 * 4
    assert update.operations == gradient.operations == 4096 * 2 * 8 * 4
    assert update.run().shape == (4096, 4)  # type: ignore[attr-defined]
    assert gradient.run().shape == (4, 8)  # type: ignore[attr-defined]
    assert decode.run().shape == (16, 4)  # type: ignore[attr-defined]


@torch.no_grad()
def test_a_decoding_layer_is_one_that_a_rollout_has_laid_out() -> None:
    decode, *_ = kernels.layer_calls(512, 256)  # 2^17 weights: large enough
    # By oneDNN from a copy: the layer's own forward would be a bound method.
    assert isinstance(inspect.getclosurevars(decode.run).nonlocals["decode"], partial)


def test_attention_has_twice_the_operations_backward_and_half_where_it_is_causal() -> None:
    forward, backward = kernels.attention_calls("it", 2, 8, 16, causal=False)
    # two products of 16 x 16 x 8 for each of 2 heads
    assert forward.operations == 2 * 2 * 2 * 16 * 16 * 8
    assert backward.operations == 2 * forward.operations
    causal, _ = kernels.attention_calls("it", 2, 8, 16, causal=True)
    assert causal.operations == forward.operations / 2
    assert [grad.shape for grad in backward.run()] == [(16, 2, 8)] * 3  # type: ignore[attr-defined]


def test_a_rate_stands_beside_the_machines() -> None:
    assert "| a | b | 50.0 | 100.0 | 50% |" in kernels.section([Kernel("a", "b", 5e10, 1e11)])
    assert kernels.section([]) == ""


@pytest.mark.slow
def test_every_kernel_is_measured() -> None:
    found = kernels.measure_all(SMALL)
    assert len(found) == 7 and all(kernel.rate > 0 and kernel.machine > 0 for kernel in found)
