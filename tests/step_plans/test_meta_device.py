"""The rules of a real device on "meta": the types that autocast gives, kernels, masks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrft.step_plans.account import GROUPED, Account, Place
from vrft.step_plans.meta_device import MetaDevice, run_backward

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda x, w: F.linear(x, w),
    "matmul": lambda x, w: x @ w,
    "sum with float32": lambda x, w: x + F.linear(x, w),
    "silu stays": lambda x, w: F.silu(F.linear(x, w)),
    "cross entropy": lambda x, w: F.cross_entropy(
        F.linear(x, w), torch.zeros(8, dtype=torch.long, device=x.device)
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_types_are_those_of_autocast(name: str) -> None:
    function, weight = FUNCTIONS[name], torch.ones(8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = function(torch.ones(8, 8), weight)
    with MetaDevice(Account(), "cuda", torch.bfloat16):
        planned = function(torch.ones(8, 8, device="meta"), weight.to("meta"))
    assert (planned.dtype, planned.shape) == (expected.dtype, expected.shape)


def test_norms_and_softmax_are_float32_as_on_a_gpu() -> None:
    # A CPU's autocast leaves them in half precision; CUDA's list has them among the float32 ones.
    weight = torch.ones(8, 8, device="meta")
    with MetaDevice(Account(), "cuda", torch.bfloat16):
        product = weight @ weight
        assert product.dtype == torch.bfloat16
        assert product.softmax(-1).dtype == torch.float32
        assert F.layer_norm(product, (8,)).dtype == torch.float32


def test_modes_hold_while_a_backward_pass_computes_again() -> None:
    # A private name of torch: without it the modes are off in what checkpointing computes again.
    assert hasattr(torch.autograd.graph, "_engine_run_backward")
    weight = torch.ones(8, 8, device="meta", requires_grad=True)
    types: list[torch.dtype] = []

    def layer(x: Tensor) -> Tensor:
        out = F.linear(x, weight)
        types.append(out.dtype)
        return out.relu() * out

    with MetaDevice(Account(), "cuda", torch.bfloat16):
        x = torch.ones(8, 8, device="meta", requires_grad=True)
        y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
        run_backward(y.float().sum())
    assert types == [torch.bfloat16] * 2


def test_attention_keeps_no_scores() -> None:
    heads = torch.empty(1, 4, 512, 64, device="meta", dtype=torch.bfloat16)
    for device in ("cuda", "cpu"):
        with Account() as account, MetaDevice(account, device):  # type: ignore[arg-type]
            out = F.scaled_dot_product_attention(heads, heads, heads)
        assert out.shape == heads.shape
        assert account.peaks[""].total < 2 * 4 * 512 * 512


def test_a_mask_marks_as_many_tokens_as_there_are_of_pictures() -> None:
    mask = torch.empty(1, 10, dtype=torch.bool, device="meta")
    with MetaDevice(Account(), "cuda", image_tokens=4):
        hidden = torch.zeros(1, 10, 3, device="meta")
        rows = hidden[mask, :]
        hidden[mask, :] = rows + 1
    assert rows.shape == (4, 3)


def test_rows_pass_the_weights_of_their_experts_and_are_counted() -> None:
    # Private operators of transformers: without them an expert's product in float32 has no shape.
    assert list(GROUPED) == ["grouped_mm_fallback", "grouped_mm_fallback_backward"]
    rows = torch.empty(6, 8, device="meta", requires_grad=True)
    weight = torch.empty(12, 8, 10, device="meta", requires_grad=True)
    ends = torch.empty(12, dtype=torch.int32, device="meta")
    with Account() as account, MetaDevice(account, "cpu"):
        account.phase = "forward"
        out = F.grouped_mm(rows, weight, offs=ends)
        account.phase = "backward"
        run_backward(out.sum())
    assert out.shape == (6, 10)
    assert rows.grad is not None and rows.grad.shape == rows.shape
    assert weight.grad is not None and weight.grad.shape == weight.shape
    forward = [work for work in account.work[Place("forward", "other")] if work.flops]
    # 6 rows of 8 numbers times 8 x 10; bytes of what is read and written, of 12 experts six
    assert [(w.flops, w.bytes) for w in forward] == [
        (2 * 6 * 8 * 10, 4 * (6 * 8 + 6 * 8 * 10 + 6 * 10 + 12))
    ]
    backward = [work for place, work in account.work.items() if place.phase == "backward"]
    assert sum(item.flops for work in backward for item in work) == 2 * forward[0].flops


def test_casts_of_weights_are_held_until_the_mode_ends_unless_they_are_not_cached() -> None:
    weight = torch.ones(8, 8, device="meta", requires_grad=True)
    x = torch.ones(8, 8, device="meta")
    with Account() as account, MetaDevice(account, "cuda", torch.bfloat16) as mode:
        with torch.no_grad(), mode.uncached():
            F.linear(x, weight)
        assert account.held == 0
        with torch.no_grad():
            F.linear(x, weight)
            F.linear(x, weight)
        assert account.held == 2 * weight.numel()  # one copy, by two bytes a weight
    assert account.held == 0
