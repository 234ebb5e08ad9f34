"""The files of a saved folder are those that were saved, or the folder is refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import manifest


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with its manifest: two files, one of them in a folder of its own."""
    folder = tmp_path / "final"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(range(100)) * 30_000)
    (folder / "inner" / "optimizer.pt").write_bytes(b"state")
    manifest.write(folder)
    return folder


def test_a_manifest_lists_each_file_with_its_size_and_sha256(saved: Path) -> None:
    files = json.loads((saved / manifest.NAME).read_text())["files"]
    assert {name: row["size"] for name, row in files.items()} == {
        "weights": 3_000_000, "inner/optimizer.pt": 5,
    }  # fmt: skip
    # printf state | sha256sum
    digest = "4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e"
    assert files["inner/optimizer.pt"]["sha256"] == digest
    assert manifest.damage(saved) is None


def test_files_of_the_users_beside_it_are_no_damage(saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    assert manifest.damage(saved) is None


def test_a_folder_without_a_manifest_is_accepted(tmp_path: Path) -> None:
    assert not manifest.is_in(tmp_path) and manifest.damage(tmp_path) is None


def test_a_bit_that_flips_is_noticed_though_the_file_keeps_its_size_and_time(saved: Path) -> None:
    path = saved / "weights"
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[1_234_567] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert manifest.damage(saved, hashed=False) is None
    assert manifest.damage(saved) == "weights has other bytes than were saved"


@pytest.mark.parametrize("size", [0, 1, 2_999_999, 3_000_001])
def test_a_file_of_another_size_is_noticed_without_reading_it(size: int, saved: Path) -> None:
    os.truncate(saved / "weights", size)
    said = f"weights has {size:,} bytes and not 3,000,000"
    assert manifest.damage(saved, hashed=False) == manifest.damage(saved) == said


def test_a_missing_file_is_noticed(saved: Path) -> None:
    (saved / "inner" / "optimizer.pt").unlink()
    assert manifest.damage(saved) == "inner/optimizer.pt is missing"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"files": 3}', '{"files": {"a": {}}}', "[" * 100_000]
)
def test_a_manifest_that_is_none_is_damage(text: str, saved: Path) -> None:
    (saved / manifest.NAME).write_text(text)
    assert manifest.damage(saved) == "manifest.json is cut off or damaged"


def test_a_model_whose_files_were_changed_is_refused_before_it_is_loaded(
    model_folder: Callable[[str], Path], load_tiny: Callable[..., models.LoadedModel],
    tmp_path: Path,
) -> None:  # fmt: skip
    models.save_model(load_tiny("qwen2_vl"), tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(b"state")
    manifest.write(tmp_path)
    (tmp_path / "optimizer.pt").unlink()  # to make room: no part of the model
    models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")
    path = tmp_path / "generation_config.json"
    path.write_text(path.read_text().replace(":", " :", 1))
    with pytest.raises(UserError, match=r"generation_config\.json has [0-9,]+ bytes and not"):
        models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")
    (tmp_path / manifest.NAME).unlink()  # as the line says
    models.load_model(ModelConfig(name=str(tmp_path)), device="cpu")


def test_a_changed_base_is_refused_below_its_adapter(
    load_tiny: Callable[..., models.LoadedModel], tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    models.save_model(load_tiny("qwen2"), base)
    manifest.write(base)
    config = ModelConfig(name=str(base), lora=LoraConfig(r=4))
    models.save_model(models.load_model(config, train=True, device="cpu"), adapter)
    manifest.write(adapter)
    asked = ModelConfig(name=str(adapter))
    models.load_model(asked, device="cpu")
    path = base / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-4000] + bytes(byte ^ 1 for byte in data[-4000:]))  # still readable
    said = rf"{adapter}/adapter_config\.json: {base}: model\.safetensors has other bytes"
    for train in (False, True):
        with pytest.raises(UserError, match=said):
            models.load_model(asked, train=train, device="cpu")
