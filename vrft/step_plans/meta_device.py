"""The rules of a real device on the "meta" device: its attention kernels and its autocast.

On "meta" torch would attend by plain products, with all scores in memory, and has no autocast.
Within ``MetaDevice`` functions run as they do on a GPU, or on a CPU, shapes and types alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from vrft.attention import flash
from vrft.attention.flash import Kernel
from vrft.attention.packed_attention import PLAIN_ATTENTION, Gradients, SequenceLayout
from vrft.step_plans.account import GROUPED, Account

Device = Literal["cuda", "cpu"]

HALF = {
    "linear", "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "addmm", "baddbmm", "addbmm",
    "conv1d", "conv2d", "conv3d", "einsum", "scaled_dot_product_attention",
}  # fmt: skip
"""Functions that autocast computes in half precision, by their names in torch."""

WIDE = {
    "exp", "log", "log1p", "expm1", "pow", "__pow__", "rsqrt", "reciprocal", "softplus", "softmax",
    "log_softmax", "layer_norm", "norm", "cumsum", "cumprod", "nll_loss", "cross_entropy",
}  # fmt: skip
"""Functions that autocast computes in float32."""


class MetaDevice(TorchFunctionMode):
    """A mode in which torch's functions on "meta" follow the rules of another device.

    With ``half``, they also follow those of its autocast in this type: casts of trained weights are
    made once and held until the mode ends, unless ``uncached`` is entered. A mask over tokens has
    no numbers: it is taken to mark so many ``image_tokens``.
    """

    def __init__(
        self,
        account: Account,
        device: Device,
        half: torch.dtype | None = None,
        image_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.account = account
        self.device, self.half, self.image_tokens = device, half, image_tokens
        self.casts: dict[int, Tensor] = {}
        self.caches = True

    def __exit__(self, *error: Any) -> None:
        self.casts.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    @contextmanager
    def uncached(self) -> Iterator[None]:
        """Cast weights anew at every use within the block, and hold none."""
        self.caches = False
        try:
            yield
        finally:
            self.caches = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self.half is not None and name in HALF:
            args, kwargs = tree_map_only(Tensor, self.cast, (args, kwargs))
        elif self.half is not None and name in WIDE:
            args, kwargs = tree_map_only(Tensor, widened, (args, kwargs))
        if name == "scaled_dot_product_attention" and kwargs.get("attn_mask") is None:
            return self.attend(*args, **kwargs)
        if name == "_grouped_mm" and GROUPED:  # whose own rules on "meta" take bfloat16 alone
            return GROUPED["grouped_mm_fallback"](*args[:2], kwargs["offs"])
        if name in ("__getitem__", "__setitem__") and is_mask(args[1]):
            rows = args[0].flatten(0, 1)
            index = torch.empty(self.image_tokens, dtype=torch.long, device=rows.device)
            return rows[index] if len(args) == 2 else rows.index_copy_(0, index, args[2])
        return func(*args, **kwargs)

    def cast(self, tensor: Tensor) -> Tensor:
        """Return a floating-point tensor in half precision; a trained weight's cast is held."""
        if not tensor.is_floating_point() or tensor.dtype == self.half:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad and self.caches):
            return tensor.to(self.half)
        if id(tensor) not in self.casts:
            with self.account.within("casts"):
                self.casts[id(tensor)] = tensor.to(self.half)
            self.account.own(self.casts[id(tensor)], tensor)
        return self.casts[id(tensor)]

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return attention [B, H, T, D] by the kernel that the device would take."""
        if enable_gqa:
            repeats = query.shape[1] // key.shape[1]
            key, value = (part.repeat_interleave(repeats, 1) for part in (key, value))
        operators: Any = torch.ops.aten
        if self.device == "cpu":
            operator = operators._scaled_dot_product_flash_attention_for_cpu
        elif query.dtype in (torch.float16, torch.bfloat16):
            operator = operators._scaled_dot_product_flash_attention
        else:
            operator = operators._scaled_dot_product_efficient_attention
            out: Tensor = operator(
                query, key, value, None, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
            )[0]
            return out
        out = operator(query, key, value, dropout_p, is_causal, scale=scale)[0]
        return out


def run_backward(loss: Tensor) -> None:
    """Run the backward pass of a loss with the modes that are entered now.

    Torch turns a mode off while its own ``backward`` runs, and what checkpointing computes again
    would follow other rules. The engine below has a private name.
    """
    engine = getattr(torch.autograd.graph, "_engine_run_backward", None)
    if engine is None:
        torch.autograd.backward(loss)
        return
    gradient = torch.ones_like(loss)
    keep, create = False, False
    engine(
        (loss,), (gradient,), keep, create, (), allow_unreachable=True, accumulate_grad=True
    )  # fmt: skip


def is_mask(index: Any) -> bool:
    """Return whether an index is a mask [rows, T] on "meta", of which all columns are taken."""
    first = index[0] if isinstance(index, tuple) and index else index
    return isinstance(first, Tensor) and first.dtype == torch.bool and first.is_meta


def widened(tensor: Tensor) -> Tensor:
    """Return a half-precision tensor in float32, and any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class CountedKernel:
    """A kernel whose operations an account counts by the lengths of the sequences.

    Of an operator's own account torch knows no lengths on "meta".
    """

    def __init__(self, kernel: Kernel, account: Account) -> None:
        self.kernel, self.account = kernel, account

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, layout: SequenceLayout, scaling: float
    ) -> tuple[Tensor, Tensor]:
        """Attend as the kernel does: two products for each pair of a query and a key."""
        with self.account.operations(*cost(2, query, layout)):
            return self.kernel.forward(query, key, value, layout, scaling)

    def backward(self, grad: Tensor, query: Tensor, *args: Any) -> Gradients:
        """Return the kernel's gradients: five products, as the scores are computed again."""
        layout = next(arg for arg in args if isinstance(arg, SequenceLayout))
        with (
            self.account.within("decoder"),
            self.account.operations(*cost(5, query, layout)),
        ):
            return self.kernel.backward(grad, query, *args)


def cost(products: int, query: Tensor, layout: SequenceLayout) -> tuple[float, bool]:
    """Return the operations of products over all pairs, and whether they are in float32.

    Queries are [T, H, D]. A product of one pair is 2 D operations in each of H heads.
    """
    pairs = sum(
        queries * keys if not (layout.causal and queries == keys) else keys * (keys + 1) / 2
        for queries, keys in zip(layout.query_lengths, layout.key_lengths, strict=True)
    )
    heads, width = query.shape[1:]
    return products * 2.0 * heads * width * pairs, query.dtype == torch.float32


@contextmanager
def kernels(device: Device, account: Account) -> Iterator[None]:
    """Let packed sequences on "meta" be attended by the device's kernel, and counted."""

    def choose(query: Tensor) -> CountedKernel:
        half = query.dtype in (torch.float16, torch.bfloat16)
        fits = half and query.shape[2] % 8 == 0 and query.shape[2] <= 256
        fast: Kernel = flash.flash_on_cuda() if fits else PLAIN_ATTENTION
        return CountedKernel(flash.FLASH_ON_CPU if device == "cpu" else fast, account)

    token = flash.ON_META.set(choose)
    try:
        yield
    finally:
        flash.ON_META.reset(token)
