"""The files for a server: written where they fit, and nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vrft.config.schema import LoraConfig
from vrft.engines import files as vllm_files
from vrft.engines.files import PolicyFiles
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy.merged_weights import base_weights, merged_weights
from vrft.policy.policy import ModelPolicy

Load = Callable[..., LoadedModel]


@pytest.fixture
def adapted(load_tiny: Load) -> ModelPolicy:
    """A policy with an adapter that says something: at first its B is 0."""
    made = ModelPolicy(load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4)))
    change(made)
    return made


def change(policy: ModelPolicy) -> None:
    with torch.no_grad():
        for name, weight in policy.module.named_parameters():
            if "lora_B" in name:
                weight += 0.25


def test_weights_are_merged_and_in_the_servers_precision(adapted: ModelPolicy) -> None:
    files = PolicyFiles(adapted, torch.bfloat16)
    written, merged = load_file(files.weights), merged_weights(adapted.loaded)
    assert {weight.dtype for weight in written.values()} == {torch.bfloat16}
    assert all(torch.equal(written[name], merged[name].bfloat16()) for name in merged)
    change(adapted)
    files.write()
    again = load_file(files.weights)
    assert any(not torch.equal(again[name], written[name]) for name in written)
    assert not list(files.folder.glob("adapter*"))
    files.delete()
    assert not files.folder.exists()


def test_an_adapter_is_written_anew_and_its_base_once(adapted: ModelPolicy) -> None:
    files = PolicyFiles(adapted, torch.float32, as_adapter=True)
    written, base = load_file(files.weights), base_weights(adapted.loaded)
    assert all(torch.equal(written[name], base[name]) for name in base)
    first, before = files.adapter, files.weights.stat().st_mtime_ns
    values = load_file(first / "adapter_model.safetensors")
    change(adapted)
    files.write()
    assert files.adapter != first and not first.exists()  # the server reads a path once
    assert files.weights.stat().st_mtime_ns == before
    again = load_file(files.adapter / "adapter_model.safetensors")
    assert set(again) == set(values)
    moved = [name for name in values if not torch.equal(values[name], again[name])]
    assert moved and all("lora_B" in name for name in moved)
    files.delete()


def test_gathered_weights_are_named_as_the_policys_module(adapted: ModelPolicy) -> None:
    gathered = {name: weight.clone() for name, weight in adapted.module.state_dict().items()}
    expected = {name: weight.clone() for name, weight in merged_weights(adapted.loaded).items()}
    with torch.no_grad():
        for weight in adapted.module.parameters():
            weight.zero_()
    files = PolicyFiles(adapted, torch.float32, gathered)
    written = load_file(files.weights)
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    files.delete()


def test_a_models_folder_has_settings_for_videos_and_a_link_to_the_weights(load_tiny: Load) -> None:
    files = PolicyFiles(ModelPolicy(load_tiny("qwen2_vl")), torch.float32)
    files.write_model()
    assert (files.model / "model.safetensors").resolve() == files.weights.resolve()
    for name in ("config.json", "tokenizer.json", "video_preprocessor_config.json"):
        assert (files.model / name).is_file()
    files.delete()


def test_without_room_in_memory_the_temporary_folder_is_taken(
    load_tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(vllm_files, "SHARED_MEMORY", tmp_path / "missing")
    files = PolicyFiles(ModelPolicy(load_tiny("qwen2")), torch.float32)
    assert files.folder.parent == tmp_path and files.weights.is_file()
    files.delete()
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit_are_told_and_leave_nothing(
    load_tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(vllm_files, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(vllm_files, "save_file", full)
    with pytest.raises(UserError, match=r"is not written \(No space left.*set TMPDIR"):
        PolicyFiles(ModelPolicy(load_tiny("qwen2")), torch.float32)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from vrft.system import folder_lock

with folder_lock.held(Path(sys.argv[1]), "a training"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_trainer_has_left_is_deleted_and_nothing_else(
    load_tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(vllm_files, "SHARED_MEMORY", tmp_path / "missing")
    policy = ModelPolicy(load_tiny("qwen2"))
    killed, recent = tmp_path / "vrft-vllm-killed", tmp_path / "vrft-vllm-recent"
    for folder in (killed, recent):
        assert subprocess.run([sys.executable, "-c", KILLED, folder]).returncode == -signal.SIGKILL
        (folder / "weights.safetensors").write_text("weights")
    unlocked = tmp_path / "vrft-vllm-of-a-server"
    unlocked.mkdir()
    running = PolicyFiles(policy, torch.float32)
    for folder in (killed, running.folder):
        os.utime(folder / ".lock", (0, 0))
    files = PolicyFiles(policy, torch.float32)
    # A recent lock may be that of a trainer which is about to take it.
    assert set(tmp_path.iterdir()) == {recent, unlocked, running.folder, files.folder}
    assert running.weights.is_file()
    for each in (running, files):
        each.delete()
