"""Torch's flash attention for CUDA on a CPU: what it takes and gives is torch's, not its kernel."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fakes.packed_rows import by_definition
from vrft.attention.cuda_flash import PUBLIC_MODULE
from vrft.attention.packed_attention import PLAIN_ATTENTION, SequenceLayout


class FlashOperators:
    """Aten's operators for packed sequences, computed by plain products.

    Every call is first made to torch's own operators on "meta", which refuse what their schemas do
    not take; the results must have the shapes and types that these give. ``calls`` are the names of
    the operators in their order.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put these in the place of torch's."""
        # Torch's modules register its own operators when they are first imported: before that.
        with suppress(ImportError):
            importlib.import_module(PUBLIC_MODULE)
        for name, compute in (
            ("_flash_attention_forward", self.forward),
            ("_flash_attention_backward", self.backward),
        ):
            monkeypatch.setattr(torch.ops.aten, name, self.checked(name, compute))

    def checked(self, name: str, compute: Any) -> Any:
        """Return an operator that computes what ``compute`` does, and takes what torch's takes."""
        real = getattr(torch.ops.aten, name)

        def operator(*args: Any, **kwargs: Any) -> Any:
            states = tree_map_only(Tensor, lambda one: one.to("meta"), (args, kwargs))
            expected = real(*states[0], **states[1])
            if args[0].is_meta:
                return expected
            self.calls.append(name)
            results = compute(named(real.default, args, kwargs))
            for result, wanted in zip(results, expected, strict=False):
                assert result.shape == wanted.shape
            return results

        return operator

    def forward(self, given: dict[str, Any]) -> tuple[Tensor, ...]:
        """Attend; the log-sum-exps are [H, T], and three tensors of dropout follow."""
        states = given["query"], given["key"], given["value"]
        out, lse = by_definition(*states, layout(given), given["scale"])
        state, unused = torch.zeros(2, dtype=torch.uint64), torch.zeros((), dtype=torch.uint64)
        return out, lse.T.contiguous(), state, unused, out.new_empty(0)

    def backward(self, given: dict[str, Any]) -> tuple[Tensor, ...]:
        """Return the gradients of the part that these keys have, by the log-sum-exps given."""
        assert given["logsumexp"].is_contiguous()
        lse = given["logsumexp"].T
        states = (given[name] for name in ("grad_out", "query", "key", "value", "out"))
        return PLAIN_ATTENTION.backward(*states, lse, layout(given), given["scale"])


def named(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names in the operator's schema."""
    parameters = operator._schema.arguments
    given = {one.name: one.default_value for one in parameters}
    given.update(zip((one.name for one in parameters), args, strict=False))
    return {**given, **kwargs}


def layout(given: dict[str, Any]) -> SequenceLayout:
    """Return the sequences of a call, in which neither dropout nor a window is asked for."""
    starts = given["cum_seq_q"], given["cum_seq_k"]
    assert all(one.dtype == torch.int32 for one in starts)
    lengths = [tuple(one.diff().tolist()) for one in starts]
    # Shorter, the kernel would skip tokens.
    assert (given["max_q"], given["max_k"]) == tuple(map(max, lengths))
    assert given["dropout_p"] == 0.0
    causal = given["is_causal"]
    windows = given["window_size_left"], given["window_size_right"]
    assert windows in [(None, None), (-1, 0) if causal else (-1, -1)]
    return SequenceLayout(*lengths, causal, given["query"].device)
