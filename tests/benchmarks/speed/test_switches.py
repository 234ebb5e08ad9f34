"""benchmarks/speed/switches.py: a switch changes our side, and leaves nothing of itself behind.

That gradients stay the same is tested with the levers, in test_levers.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.speed import switches
from vrft.policy import decode_step, onednn


def test_a_patch_leaves_nothing_behind() -> None:
    class Owner:
        method = 1

    owner = Owner()
    with switches.patched(owner, "method", 2):
        assert owner.method == 2
    assert vars(owner) == {} and owner.method == 1


def test_a_strategy_of_decoding_is_put_back_also_after_an_error() -> None:
    before = decode_step.STRATEGIES["cpu"]
    loaded = SimpleNamespace(device=torch.device("cpu"))
    ours: Any = SimpleNamespace(policy=SimpleNamespace(loaded=loaded))
    with pytest.raises(KeyError), switches.strategy(ours, fused=not before.fused):
        assert decode_step.STRATEGIES["cpu"].fused is not before.fused
        raise KeyError
    assert decode_step.STRATEGIES["cpu"] == before


def test_without_onednn_no_dtype_is_multiplied_by_it() -> None:
    ours: Any = None
    before = onednn.supports, onednn.reads_in_place
    with switches.plain_products(ours):
        assert not onednn.supports(torch.float32) and not onednn.reads_in_place(torch.float32)
    assert (onednn.supports, onednn.reads_in_place) == before
