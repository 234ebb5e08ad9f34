"""Flash attention for NVIDIA's GPUs, without one: the calls are torch's, the kernel a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fakes.cuda_operators import FlashOperators
from fakes.packed_rows import CPU, LAYOUTS, SCALING, by_definition, gradient, on, states
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from vrft.attention import cuda_flash
from vrft.attention.cuda_flash import PRIVATE, PUBLIC, FlashOnCuda
from vrft.attention.group_attention import GroupAttention, GroupLayout
from vrft.attention.packed_attention import PLAIN_ATTENTION, SequenceLayout

# by the queries' lengths, which differ in all of them
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: str(one.query_lengths))
each_kernel = pytest.mark.parametrize("kernel", [PUBLIC, PRIVATE], ids=["public", "private"])


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> FlashOperators:
    """Stand-ins of aten's operators, which the public function calls as well."""
    made = FlashOperators()
    made.install(monkeypatch)
    return made


@pytest.fixture(autouse=True)
def _no_memory_of_trials() -> Iterator[None]:
    """Let kernels be tried anew within each test, and after it."""
    cuda_flash.chosen.cache_clear()
    cuda_flash.proven.cache_clear()
    yield
    cuda_flash.chosen.cache_clear()
    cuda_flash.proven.cache_clear()


@each_kernel
@each_layout
def test_values_and_gradients_are_those_of_plain_products(
    layout: SequenceLayout, kernel: FlashOnCuda, operators: FlashOperators
) -> None:
    inputs = states(layout)
    out, lse = kernel.forward(*inputs, layout, SCALING)
    expected, expected_lse = by_definition(*inputs, layout)
    assert torch.allclose(out, expected) and torch.allclose(lse, expected_lse)
    # As if other keys, unseen here, had a part of every query's attention.
    merged = out * 0.5, lse + 0.5
    ours = kernel.backward(gradient(out), *inputs, *merged, layout, SCALING)
    theirs = PLAIN_ATTENTION.backward(gradient(out), *inputs, *merged, layout, SCALING)
    assert all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True))
    assert operators.calls == ["_flash_attention_forward", "_flash_attention_backward"]


@each_kernel
@each_layout
def test_these_shapes_are_taken_and_given(layout: SequenceLayout, kernel: FlashOnCuda) -> None:
    """Ask torch's own account of its operators, which needs no GPU."""
    inputs = [state.to("meta") for state in states(layout, torch.bfloat16)]
    there = on(layout, "meta")
    out, lse = kernel.forward(*inputs, there, SCALING)
    assert out.shape == inputs[0].shape and out.dtype == torch.bfloat16
    assert lse.shape == out.shape[:2] and lse.dtype == torch.float32
    gradients = kernel.backward(out, *inputs, out, lse, there, SCALING)
    assert [gradient.shape for gradient in gradients] == [state.shape for state in inputs]


@each_kernel
def test_all_stays_on_the_gpu(kernel: FlashOnCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call torch's operators for tensors that say they are CUDA's and hold nothing.

    Tensors of two devices in one operation are an error there, as they are on a GPU.
    """
    with FakeTensorMode(), torch.device("cuda"):
        query, key = (torch.empty(9, heads, 64, dtype=torch.bfloat16) for heads in (4, 2))
        starts = torch.empty(3, dtype=torch.int32)
        layout = SequenceLayout((3, 6), (3, 6), True, torch.device("cuda"))
        # A build for CPUs cannot send them.
        monkeypatch.setitem(layout.__dict__, "cu_seqlens", (starts, starts))
        out, lse = kernel.forward(query, key, key, layout, SCALING)
        gradients = kernel.backward(out, query, key, key, out, lse, layout, SCALING)
        assert {result.device.type for result in (out, lse, *gradients)} == {"cuda"}
        # the device is as strict as the test needs it
        with pytest.raises(RuntimeError, match="two devices"):
            query @ torch.empty(64, 64, dtype=torch.bfloat16, device="cpu")


@each_kernel
def test_a_packed_row_of_groups_has_the_gradients_of_the_cpus_kernel(
    kernel: FlashOnCuda, operators: FlashOperators, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = GroupLayout((3, 9, 1), CPU, (4, 2, 0, 6, 1, 1))
    rows = SequenceLayout((27,), (27,), True, CPU)  # 13 tokens of prompts and 14 of completions
    leaves = [state.requires_grad_() for state in states(rows)]
    grad = gradient(leaves[0])
    expected = GroupAttention.apply(layout, SCALING, *leaves)
    wanted = torch.autograd.grad(expected, leaves, grad)
    monkeypatch.setattr("vrft.attention.flash.kernel_for", lambda query: kernel)
    packed = GroupAttention.apply(layout, SCALING, *leaves)
    assert torch.allclose(packed, expected)
    for ours, theirs in zip(torch.autograd.grad(packed, leaves, grad), wanted, strict=True):
        assert torch.allclose(ours, theirs)
    assert len(operators.calls) == 6  # three attentions, forward and backward


def test_the_public_functions_own_gradient_leaves_log_sum_exps_out(
    operators: FlashOperators,
) -> None:
    """Say why its backward is not used: the day this fails, it may be."""
    layout = SequenceLayout((5,), (5,), True, CPU)
    leaves = [state.requires_grad_() for state in states(layout)]
    _, lse = PUBLIC.forward(*leaves, layout, SCALING)
    assert lse.requires_grad  # it claims to have one
    lse.sum().backward()
    assert leaves[0].grad is not None and not leaves[0].grad.any()
    fresh = [state.requires_grad_() for state in states(layout)]
    of_queries, _ = torch.autograd.grad(by_definition(*fresh, layout)[1].sum(), fresh[:2])
    assert of_queries.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("gone", "kernel"),
    [
        ({}, PUBLIC),
        ({"PUBLIC_MODULE": "torch.nn.attention.not_yet"}, PRIVATE),  # torch before 2.10
        ({"PUBLIC_BACKWARD": "_gone"}, PRIVATE),
        ({"PUBLIC_BACKWARD": "_gone", "OPERATORS": ("_gone", "_gone_backward")}, None),
    ],
)
def test_the_first_that_fits_is_chosen(
    gone: dict[str, Any], kernel: FlashOnCuda | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in gone.items():
        monkeypatch.setattr(cuda_flash, name, value)
    assert cuda_flash.chosen() is kernel


def test_a_public_function_without_scale_or_shared_heads_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Have the signatures of torch 2.10 and 2.11, and log-sum-exps the other way round."""
    public: Any = pytest.importorskip(cuda_flash.PUBLIC_MODULE)
    newest = public.varlen_attn

    def of_2_10(
        query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor,
        max_q: int, max_k: int, is_causal: bool = False, return_aux: Any = None,
    ) -> Any:  # fmt: skip
        raise AssertionError("it takes no scale")

    def of_2_11(*args: Any, return_aux: Any, scale: float, window_size: tuple[int, int]) -> Any:
        raise AssertionError("it takes no enable_gqa")

    def tokens_first(*args: Any, **kwargs: Any) -> Any:
        out, lse = newest(*args, **kwargs)
        return out, lse.T

    assert cuda_flash.fits(PUBLIC)
    for other in (of_2_10, of_2_11, tokens_first):
        monkeypatch.setattr(public, "varlen_attn", other)
        assert not cuda_flash.fits(PUBLIC)
        cuda_flash.chosen.cache_clear()
        assert cuda_flash.chosen() is PRIVATE


def misread(*, lse: bool = False, mask: bool = False, merged: bool = False) -> FlashOnCuda:
    """Return a kernel that computes plainly, but for one mistake."""

    def forward(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> Any:
        *_, causal, scaling = rest
        where = read(rest, causal and not mask)
        out, sums = PLAIN_ATTENTION.forward(query, key, value, where, scaling)
        return out, sums.reshape(sums.shape[::-1]) if lse else sums.T

    def backward(
        grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, sums: Tensor,
        *rest: Any,
    ) -> Any:  # fmt: skip
        *_, causal, scaling = rest
        where = read(rest, causal)
        if merged:  # those of its own part, as the public function's gradient has them
            out, own = PLAIN_ATTENTION.forward(query, key, value, where, scaling)
            sums = own.T
        return PLAIN_ATTENTION.backward(grad, query, key, value, out, sums.T, where, scaling)

    def read(rest: Any, causal: bool) -> SequenceLayout:
        lengths = [tuple(starts.diff().tolist()) for starts in rest[:2]]
        return SequenceLayout(lengths[0], lengths[1], causal, CPU)

    return FlashOnCuda(forward, backward)


@each_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [8, 128])
def test_a_kernel_that_computes_the_right_thing_is_used(
    kernel: FlashOnCuda,
    dtype: torch.dtype,
    width: int,
    operators: FlashOperators,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = torch.random.get_rng_state()
    assert cuda_flash.proven(kernel, CPU, dtype, width)
    # Half precision has 8 bits, float32 has 24.
    bound = 0.02 if dtype == torch.bfloat16 else 1e-5
    assert cuda_flash.difference(kernel, CPU, dtype, width) < bound
    assert torch.equal(torch.random.get_rng_state(), state)  # a run's random numbers stay
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mistake", ["lse", "mask", "merged"])
def test_a_kernel_that_computes_something_else_is_refused_aloud(
    mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = misread(**{mistake: True})
    assert not cuda_flash.proven(wrong, CPU, torch.bfloat16, 64)
    assert not cuda_flash.proven(wrong, CPU, torch.bfloat16, 64)
    note = capsys.readouterr().err
    assert "is wrong on cpu by" in note and "plain products" in note
    assert note.count("\n") == 1  # once, not at every layer
    assert cuda_flash.proven(misread(), CPU, torch.bfloat16, 64)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_kernel_that_computes_nothing_finite_is_refused(value: float) -> None:
    right = misread()

    def forward(*args: Any) -> Any:
        out, lse = right.attend(*args)
        return out.fill_(value), lse

    assert not cuda_flash.proven(
        FlashOnCuda(forward, right.attend_backward), CPU, torch.bfloat16, 64
    )


def test_a_kernel_that_fails_is_refused_and_a_full_gpu_is_not_its_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*args: Any) -> Any:
        raise error

    broken = FlashOnCuda(fails, fails)
    error: RuntimeError = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        cuda_flash.proven(broken, CPU, torch.bfloat16, 64)
    error = RuntimeError("no kernel image is available\nand more")
    assert not cuda_flash.proven(broken, CPU, torch.bfloat16, 64)
    assert "fails on cpu: no kernel image is available; " in capsys.readouterr().err


class Card:
    """Queries that say they are on a GPU."""

    is_cuda, device = True, CPU

    def __init__(self, dtype: torch.dtype, width: int) -> None:
        self.dtype, self.shape = dtype, (7, 4, width)


@pytest.mark.parametrize(
    ("dtype", "width", "capability", "flash", "taken"),
    [
        (torch.bfloat16, 128, (9, 0), True, True),
        (torch.float16, 64, (8, 0), True, True),
        (torch.float32, 128, (9, 0), True, False),
        (torch.bfloat16, 20, (9, 0), True, False),  # not in steps of 8
        (torch.bfloat16, 264, (9, 0), True, False),
        (torch.bfloat16, 128, (7, 5), True, False),  # T4
        (torch.bfloat16, 128, (9, 0), False, False),  # a build without the kernels
    ],
)
def test_a_gpu_takes_what_its_kernels_were_made_for(
    dtype: torch.dtype,
    width: int,
    capability: tuple[int, int],
    flash: bool,
    taken: bool,
    operators: FlashOperators,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: flash)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    query: Any = Card(dtype, width)
    assert cuda_flash.serves(query) is taken
    assert bool(operators.calls) is taken  # nothing is tried that is not used
    assert not cuda_flash.serves(torch.empty(7, 4, 64, dtype=torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_kernel
@each_layout
def test_a_gpu_computes_what_plain_products_do(layout: SequenceLayout, kernel: FlashOnCuda) -> None:
    there = on(layout, "cuda")
    exact = [state.to("cuda") for state in states(layout)]
    inputs = [state.to(torch.bfloat16) for state in exact]
    assert cuda_flash.fits(kernel) and cuda_flash.serves(inputs[0])
    out, lse = kernel.forward(*inputs, there, SCALING)
    rounded = [state.double() for state in inputs]
    expected, expected_lse = PLAIN_ATTENTION.forward(*rounded, there, SCALING)
    # bfloat16 keeps 8 bits: 1/256 of values of about 2
    assert torch.allclose(out.double(), expected, atol=0.03)
    assert torch.allclose(lse.double(), expected_lse, atol=0.01)
    grad = gradient(expected.cpu()).cuda()
    ours = kernel.backward(grad.bfloat16(), *inputs, out, lse, there, SCALING)
    plain = PLAIN_ATTENTION.backward(grad, *rounded, expected, expected_lse, there, SCALING)
    for a, b in zip(ours, plain, strict=True):
        assert (a.double() - b).norm() < 0.03 * b.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("width", [64, 128, 256])
def test_a_gpus_kernels_are_proven_at_their_first_use(width: int) -> None:
    kernel = cuda_flash.chosen()
    assert kernel is not None
    assert cuda_flash.difference(kernel, torch.device("cuda"), torch.bfloat16, width) < 0.02
