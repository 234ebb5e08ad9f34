"""Plain products over packed sequences against softmax attention as it is defined."""

from __future__ import annotations

import pytest
import torch
from fakes.packed_rows import CPU, LAYOUTS, SCALING, by_definition, gradient, states

from vrft.attention.packed_attention import PLAIN_ATTENTION, SequenceLayout


# by the queries' lengths, which differ in all of them
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: str(one.query_lengths))
def test_values_and_gradients_are_those_of_the_definition(layout: SequenceLayout) -> None:
    inputs = states(layout)
    leaves = [state.clone().requires_grad_() for state in inputs]
    expected, expected_lse = by_definition(*leaves, layout)
    out, lse = PLAIN_ATTENTION.forward(*inputs, layout, SCALING)
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(lse, expected_lse, atol=1e-12)
    grad = gradient(out)
    ours = PLAIN_ATTENTION.backward(grad, *inputs, out, lse, layout, SCALING)
    for part, theirs in zip(ours, torch.autograd.grad(expected, leaves, grad), strict=True):
        assert torch.allclose(part, theirs, atol=1e-11)
        assert theirs.abs().max() > 1e-3  # the comparison is not one of zeros


def test_the_backward_of_a_part_of_the_keys_is_that_part_of_the_gradient() -> None:
    """Give each part the output and log-sum-exps over all keys, as merging the parts does."""
    all_keys = SequenceLayout((5,), (9,), False, CPU)
    query, key, value = states(all_keys)
    out, lse = PLAIN_ATTENTION.forward(query, key, value, all_keys, SCALING)
    grad = gradient(out)
    expected = PLAIN_ATTENTION.backward(grad, query, key, value, out, lse, all_keys, SCALING)
    parts = []
    for cols in (slice(0, 4), slice(4, 9)):  # as the prompt's keys and a completion's own
        layout = SequenceLayout((5,), (cols.stop - cols.start,), False, CPU)
        merged = out, lse
        parts.append(
            PLAIN_ATTENTION.backward(grad, query, key[cols], value[cols], *merged, layout, SCALING)
        )
    assert torch.allclose(parts[0][0] + parts[1][0], expected[0], atol=1e-12)
    for i in (1, 2):
        assert torch.allclose(torch.cat([parts[0][i], parts[1][i]]), expected[i], atol=1e-12)


def test_log_sum_exps_of_half_precision_are_float32() -> None:
    out, lse = PLAIN_ATTENTION.forward(*states(LAYOUTS[1], torch.bfloat16), LAYOUTS[1], SCALING)
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)


def test_cumulative_lengths_are_made_once() -> None:
    layout = SequenceLayout((3, 1, 5), (2, 2, 2), False, CPU)
    queries, keys = layout.cu_seqlens
    assert queries.tolist() == [0, 3, 4, 9] and keys.tolist() == [0, 2, 4, 6]
    assert queries.dtype == keys.dtype == torch.int32
    assert layout.cu_seqlens[0] is queries
