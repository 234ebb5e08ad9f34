"""Prompts counted without a model: the numbers are those that encoding them gives."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vrft import images
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import encoding, prompt_tokens
from vrft.types import Prompt, Turn

ModelFolder = Callable[[str], Path]


@pytest.mark.parametrize(
    ("family", "side"), [("qwen2_vl", 28), ("qwen2_5_vl", 28), ("qwen3_vl", 32), ("qwen3_5", 32)]
)
@pytest.mark.parametrize("raw", [False, True])
def test_the_count_is_the_length_of_the_encoded_prompt(
    family: str,
    side: int,
    raw: bool,
    load_tiny: Callable[..., Any],
    model_folder: ModelFolder,
    picture: Callable[..., Image.Image],
) -> None:
    limits = {"min_pixels": 4 * side**2, "max_pixels": 12 * side**2}
    loaded = load_tiny(family, **limits)
    reader = prompt_tokens.load_counter(ModelConfig(str(model_folder(family)), **limits))
    assert reader.pixels == (limits["min_pixels"], limits["max_pixels"]) and reader.factor == side
    # within the limits, above and below them, and long
    for sizes in [(), ((84, 56),), ((300, 200), (20, 20)), ((28, 400), (56, 56), (84, 84))]:
        shown = tuple(picture(*size) for size in sizes)
        seen = [images.resized_size(*size, *reader.pixels, reader.factor) for size in sizes]
        prompt = Prompt("Where is the owl?", shown, "Be brief.", "<think>", raw)
        turn = Turn("user", "Look: " + "<image>, " * len(sizes))
        interleaved = replace(prompt, turns=(turn, Turn("assistant", "I do.")))
        for asked in (prompt, interleaved):
            expected = len(encoding.encode(loaded, asked).tokens)
            assert reader.read(asked, seen) == (expected, len(sizes))


def test_a_text_only_model_is_read_by_its_tokenizer(
    load_tiny: Callable[..., Any], model_folder: ModelFolder
) -> None:
    reader = prompt_tokens.load_counter(ModelConfig(str(model_folder("qwen2"))))
    prompt = Prompt("What is 2 + 2?")
    assert reader.pixels is None
    length = len(encoding.encode(load_tiny("qwen2"), prompt).tokens)
    assert reader.read(prompt, ()) == (length, 0)
    with pytest.raises(UserError, match="the model reads no pictures"):
        reader.read(Prompt("Where?", (Image.new("RGB", (56, 56)),)), [(56, 56)])


def test_the_counter_refuses_what_training_refuses(model_folder: ModelFolder) -> None:
    reader = prompt_tokens.load_counter(ModelConfig(str(model_folder("qwen2_vl"))))
    picture = Image.new("RGB", (56, 56))
    for text in ("an <|image_pad|>", "<image> or <image>", "half \ud83d"):
        with pytest.raises(UserError, match=r"^the prompt '"):
            reader.read(Prompt(text, (picture,)), [(56, 56)])


def test_no_weights_are_needed(tmp_path: Path, model_folder: ModelFolder) -> None:
    folder = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "model")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    assert prompt_tokens.load_counter(ModelConfig(str(folder))).read(Prompt("Where?"), ())[1] == 0


def test_the_embedded_model_stands_under_its_name() -> None:
    assert prompt_tokens.load_counter(ModelConfig("demo")).pixels is not None


@pytest.mark.parametrize(
    "name", ["nobody/no-such-model", "not a name/ of a model/", "demo-nothing"]
)
def test_a_model_that_is_not_here_is_named_and_the_hub_not_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    with pytest.raises(UserError, match="is not on this machine; fetch all but its") as raised:
        prompt_tokens.load_counter(ModelConfig(name))
    assert repr(name) in str(raised.value)


def test_a_folder_without_a_model_is_named(tmp_path: Path, model_folder: ModelFolder) -> None:
    with pytest.raises(UserError, match="no model there"):
        prompt_tokens.load_counter(ModelConfig(str(tmp_path)))
    shutil.copy(model_folder("qwen2_vl") / "config.json", tmp_path)
    with pytest.raises(UserError, match=f"no processor in {tmp_path}"):
        prompt_tokens.load_counter(ModelConfig(str(tmp_path)))


def test_a_model_in_the_hubs_cache_is_read_from_there(
    tmp_path: Path, model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the cache as the hub's client keeps it: a branch names a snapshot
    cached = tmp_path / "models--nobody--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model_folder("qwen2_vl"), cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert prompt_tokens.load_counter(ModelConfig("nobody/tiny")).pixels is not None
