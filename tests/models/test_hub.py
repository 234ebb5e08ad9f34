"""Models of the hub without weights: the line says truly what is lacking, and where to have it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file

from vrft import models
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import folders, hub, prompt_tokens

NAME = "me/tiny"
FETCH = "its weights are not on this machine, or not all of them; fetch them with `hf download me"

Change = Callable[[Path], None]


@pytest.fixture
def snapshot(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a tiny model in a cache of its own, as the hub's client keeps it."""
    folder = tmp_path / "models--me--tiny" / "snapshots" / "abc"
    shutil.copytree(model_folder("qwen2"), folder)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    return folder


def load() -> models.LoadedModel:
    return models.load_model(ModelConfig(NAME), device="cpu")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def in_parts_without_weights(folder: Path) -> None:
    """Leave what `hf download --exclude '*.safetensors'` leaves of a large model."""
    without_weights(folder)
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / folders.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": parts}))


def with_one_part(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    in_parts_without_weights(folder)


def with_a_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    without_weights(folder)


def with_a_pickle_and_an_index(folder: Path) -> None:
    with_a_pickle(folder)
    (folder / folders.INDEX).write_text('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # what `vrft plan` advises to fetch, of a small model and of one in parts; half a download
        (without_weights, FETCH),
        (in_parts_without_weights, FETCH),
        (with_one_part, FETCH),
        # a pickle that is there, alone or beside weights that are known to exist
        (with_a_pickle, "has no weights in safetensors, and pytorch_model.bin is a pickle"),
        (with_a_pickle_and_an_index, FETCH),
    ],
)
def test_offline_the_cache_says_what_is_lacking(change: Change, said: str, snapshot: Path) -> None:
    assert load().core
    change(snapshot)
    with pytest.raises(UserError) as caught:
        load()
    message = str(caught.value)
    assert said in message and message.startswith(f"model {NAME!r}: ") and "\n" not in message
    assert ("pickle" in message) == ("pickle" in said)
    prompt_tokens.load_counter(ModelConfig(NAME))  # which needs no weights


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json", "pytorch_model.bin"}, "pytorch_model.bin is a pickle"),
        ({"config.json"}, "the hub has no weights of it in safetensors"),
        ({"model.safetensors.index.json"}, "the hub has not all parts of it in safetensors"),
        (None, FETCH),
    ],
)
def test_the_hub_is_believed_where_it_answers(
    files: set[str] | None, said: str, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_weights(snapshot)
    monkeypatch.setattr(hub, "listed", lambda name: files)
    with pytest.raises(UserError) as caught:
        load()
    assert said in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_not_asked_again(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Can't load the model for 'me/tiny'.") from httpx2.ConnectError("refused")

    monkeypatch.setattr(hub, "listed", lambda name: pytest.fail("asked again"))
    monkeypatch.setattr("transformers.Qwen2ForCausalLM.from_pretrained", fail)
    without_weights(snapshot)
    with pytest.raises(UserError, match=FETCH):
        load()


def test_another_fault_of_the_system_is_not_taken_for_missing_weights(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = PermissionError(13, "Permission denied", str(snapshot / "model.safetensors"))

    def fail(*_: object, **__: object) -> None:
        raise denied

    def fail_as_transformers(*_: object, **__: object) -> None:
        raise OSError(f"PermissionError at {denied.filename} when downloading") from denied

    for failing in (fail, fail_as_transformers):
        monkeypatch.setattr("transformers.Qwen2ForCausalLM.from_pretrained", failing)
        with pytest.raises(OSError, match=r"Permission.*safetensors"):
            load()


def test_a_list_that_cannot_be_had_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the hub was asked"))
    assert hub.listed(NAME) is None
    assert hub.listed("not a name/ of a model/") is None
