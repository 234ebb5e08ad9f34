"""Model folders that are half there: one line that names the file and the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import folders, prompt_tokens
from vrft.models.loaded import LoadedModel

ModelFolder = Callable[[str], Path]
Load = Callable[..., LoadedModel]

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4407\n"


def load(folder: Path, **settings: Any) -> LoadedModel:
    return models.load_model(ModelConfig(str(folder), **settings), device="cpu")


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_a_tensor(path: Path) -> None:
    weights = load_file(path)
    del weights[next(name for name in weights if "q_proj" in name)]
    save_file(weights, path, metadata={"format": "pt"})


def with_another_shape(path: Path) -> None:
    weights = load_file(path)
    name = next(name for name in weights if "q_proj.weight" in name)
    weights[name] = weights[name][:-1].clone()
    save_file(weights, path, metadata={"format": "pt"})


def with_an_index(path: Path) -> None:
    """Name a second file of weights, which is not there."""
    parts = {"a": path.name, "b": "model-00002-of-00002.safetensors"}
    path.with_name(folders.INDEX).write_text(json.dumps({"weight_map": parts}))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2"])
@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        # a copy that was broken off, an empty file, none, git without LFS
        ("model.safetensors", cut, "model.safetensors: cut off or damaged"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "cut off or damaged"),
        ("model.safetensors", Path.unlink, "has no weights (model.safetensors)"),
        ("model.safetensors", lambda path: path.write_text(POINTER), "a Git LFS pointer"),
        # one file of several is missing; weights of another model, or without some
        ("model.safetensors", with_an_index, "model-00002-of-00002.safetensors: missing"),
        ("model.safetensors", without_a_tensor, "weights lack 1 tensor(s)"),
        ("model.safetensors", with_another_shape, "have another shape for 1 tensor(s)"),
        # the same of settings and of the tokenizer
        ("config.json", cut, "config.json: cannot be read as JSON"),
        ("tokenizer.json", cut, "tokenizer.json: cannot be read as JSON"),
        ("tokenizer.json", lambda path: path.write_text(POINTER), "a Git LFS pointer"),
        ("tokenizer.json", lambda path: path.write_text("[]"), "no JSON object"),
        ("tokenizer.json", lambda path: path.write_text("[" * 10**5), "cannot be read as JSON"),
        ("tokenizer.json", Path.unlink, "its tokenizer does not fit the model"),
    ],
)
def test_a_folder_that_is_half_there_is_refused_in_one_line(
    family: str,
    name: str,
    damage: Callable[[Path], None],
    said: str,
    model_folder: ModelFolder,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(model_folder(family), tmp_path / "model")
    damage(folder / name)
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert said in message and str(folder) in message and "\n" not in message


class Trap:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pth"]
)
def test_weights_in_a_pickle_are_refused_and_not_read(
    name: str, model_folder: ModelFolder, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("qwen2"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"w": Trap(tmp_path / "mark")}, folder / name)
    with pytest.raises(UserError, match=f"no weights in safetensors, and {name} is a pickle"):
        load(folder)
    assert not (tmp_path / "mark").exists()
    torch.load(folder / name, weights_only=False)  # the trap works
    assert (tmp_path / "mark").exists()


def test_an_adapter_in_a_pickle_is_refused(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.bin is a pickle"):
        load(adapter)


def with_pictures_elsewhere(config: dict[str, Any]) -> None:
    config["image_token_id"] += 1


def with_an_end_beyond(config: dict[str, Any]) -> None:
    config.get("text_config", config)["eos_token_id"] = 151_645


def with_few_embeddings(config: dict[str, Any]) -> None:
    config.get("text_config", config)["vocab_size"] = 100


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("qwen2_vl", with_pictures_elsewhere, "<|image_pad|> is"),
        ("qwen2_5_vl", with_an_end_beyond, "eos_token_id 151645 in config.json, and"),
        ("qwen2", with_an_end_beyond, "eos_token_id 151645 in config.json, and"),
        ("qwen2", with_few_embeddings, "tokens for 100 embeddings"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(
    family: str,
    change: Callable[[dict[str, Any]], None],
    said: str,
    model_folder: ModelFolder,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(model_folder(family), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not fit the model") as caught:
        prompt_tokens.load_counter(ModelConfig(str(folder)))  # as `vrft check` does
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_a_folder_without_the_settings_of_pictures_is_refused(
    name: str, model_folder: ModelFolder, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "model")
    for path in folder.glob("*processor_config.json"):
        if path.name != name:
            path.unlink()
    if name == "preprocessor_config.json":
        load(folder)  # the published layout
        (folder / name).unlink()
    else:
        (folder / name).write_text("{}")
    with pytest.raises(UserError, match=rf"no processor in {folder}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        # an unknown family whose code lies in the folder: transformers would ask whether to run it
        {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}},
        {"auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}},
    ],
)
def test_code_in_a_folder_is_never_run_nor_asked_about(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", asked)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match="no model there"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_known_family_is_left_alone(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: 1 / 0)
    folder = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "model")
    (folder / "mine.py").write_text("1 / 0")
    for name, key in (("config.json", "AutoConfig"), ("tokenizer_config.json", "AutoTokenizer"),
                      ("processor_config.json", "AutoProcessor"),
                      ("preprocessor_config.json", "AutoImageProcessor")):  # fmt: skip
        settings = json.loads((folder / name).read_text())
        value = ["mine.A", None] if key == "AutoTokenizer" else "mine.A"
        settings["auto_map"] = {key: value}
        (folder / name).write_text(json.dumps(settings))
    assert load(folder).family.has_vision


# --- adapters


@pytest.fixture
def adapter(load_tiny: Load, tmp_path: Path) -> Path:
    """The folder of an adapter of a tiny model, below the folder of a project."""
    folder = tmp_path / "project" / "runs" / "a" / "final"
    models.save_model(load_tiny("qwen2", train=True, lora=LoraConfig(r=4)), folder)
    return folder


def rename_base(adapter: Path, name: str | None) -> None:
    settings = json.loads((adapter / folders.ADAPTER).read_text())
    settings["base_model_name_or_path"] = name
    (adapter / folders.ADAPTER).write_text(json.dumps(settings))


def test_an_adapter_is_saved_with_the_whole_path_of_its_base(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model_folder("qwen2"), tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    config = ModelConfig("models/tiny", lora=LoraConfig(r=4))
    models.save_model(models.load_model(config, train=True, device="cpu"), tmp_path / "final")
    monkeypatch.chdir("/")
    again = models.load_model(ModelConfig(str(tmp_path / "final")), train=True, device="cpu")
    models.save_model(again, tmp_path / "further")
    for name in ("final", "further"):
        saved = json.loads((tmp_path / name / folders.ADAPTER).read_text())
        assert saved["base_model_name_or_path"] == str(tmp_path / "models" / "tiny")


def test_a_relative_base_is_found_from_the_adapters_folder_and_those_above(
    adapter: Path, model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the project's folder is another
    base = shutil.copytree(model_folder("qwen2"), tmp_path / "project" / "models" / "tiny")
    for name in ("models/tiny", "../../../models/tiny"):
        rename_base(adapter, name)
        assert Path(folders.base_of(str(adapter))).resolve() == base
        assert load(adapter).adapter is not None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("models/tiny", "adapter_config.json: model 'models/tiny': no model there"),
        ("./tiny", "the base model './tiny' is not there"),
        ("/nowhere/tiny", "the base model '/nowhere/tiny' is not there"),
        ("runs/of/tiny", "the base model 'runs/of/tiny' is not there"),
        (None, "names no base model"),
    ],
)
def test_a_base_that_is_not_there_is_named_with_the_adapter(
    name: str | None, said: str, adapter: Path
) -> None:
    rename_base(adapter, name)
    for use in (load, lambda path: prompt_tokens.load_counter(ModelConfig(str(path)))):
        with pytest.raises(UserError) as caught:
            use(adapter)  # type: ignore[operator]
        assert said in str(caught.value) and str(adapter) in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "cut off or damaged"),
        (Path.unlink, "has no weights"),
        (lambda path: path.write_text(POINTER), "a Git LFS pointer"),
        (without_a_tensor, "lacks 1 tensor"),
        (lambda path: cut(path.with_name(folders.ADAPTER)), "cannot be read as JSON"),
    ],
)
def test_half_an_adapter_is_refused(
    damage: Callable[[Path], None], said: str, adapter: Path
) -> None:
    damage(adapter / "adapter_model.safetensors")
    with pytest.raises(UserError) as caught:
        load(adapter)
    assert said in str(caught.value) and str(adapter) in str(caught.value)


def test_an_adapter_of_a_model_of_another_size_is_refused(adapter: Path, tmp_path: Path) -> None:
    from vrft.demo import tiny
    from vrft.demo.course import Size

    tiny.write(tmp_path / "wide", "qwen2", Size(64, 128, 2, 4, 2, 64, 2, 4))
    rename_base(adapter, str(tmp_path / "wide"))
    with pytest.raises(UserError, match="does not fit its base model") as caught:
        load(adapter)
    assert "\n" not in str(caught.value)


def test_an_adapter_without_a_processor_has_that_of_its_base(adapter: Path) -> None:
    for path in adapter.iterdir():
        if not path.name.startswith("adapter_"):
            path.unlink()
    assert load(adapter).tokenizer.chat_template
    assert prompt_tokens.load_counter(ModelConfig(str(adapter))).pixels is None
