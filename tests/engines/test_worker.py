"""The workers' extension is loaded without vrft, and prepares each output layer again."""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vrft.engines import worker as vllm_worker


class Head(torch.nn.Linear):
    """In the place of vLLM's output layer, with a packed copy of its weights."""

    quant_method: Any
    packed: torch.Tensor


class Packing:
    def process_weights_after_loading(self, module: Head) -> None:
        module.packed = module.weight.detach().clone()


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of vLLM's name that holds the class of its output layer."""
    names = ("vllm", "vllm.model_executor", "vllm.model_executor.layers")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    layer = types.ModuleType("vllm.model_executor.layers.vocab_parallel_embedding")
    layer.ParallelLMHead = Head  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, layer.__name__, layer)


class Runner:
    """In the place of vLLM's model runner: it loads weights, and packs none of a tied head."""

    def __init__(self) -> None:
        self.head = Head(2, 3, bias=False)
        self.head.quant_method = Packing()
        self.head.quant_method.process_weights_after_loading(self.head)
        self.names: list[str] = []

    def get_model(self) -> torch.nn.Module:
        return torch.nn.Sequential(self.head)

    def reload_weights(self, weights_iterator: Any) -> None:
        for name, weight in weights_iterator:
            self.names.append(name)
            self.head.weight.data.copy_(weight)


class Worker(vllm_worker.WeightReload):
    def __init__(self) -> None:
        self.model_runner = Runner()


@pytest.mark.usefixtures("vllm")
def test_all_weights_of_a_file_are_loaded_and_the_head_is_packed_again(tmp_path: Path) -> None:
    save_file({"embed.weight": torch.ones(3, 2)}, tmp_path / "w.safetensors")
    worker = Worker()
    assert worker.vrft_reload(str(tmp_path / "w.safetensors")) == {"tensors": 1}
    assert worker.model_runner.names == ["embed.weight"]
    assert torch.equal(worker.model_runner.head.packed, torch.ones(3, 2))


@pytest.mark.parametrize("name", ["worker.py", "launcher.py"])
def test_what_runs_in_vllms_environment_imports_nothing_of_vrft(name: str) -> None:
    tree = ast.parse(Path(vllm_worker.__file__).with_name(name).read_text())
    imported = [
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert imported and not [module for module in imported if module.startswith("vrft")]
