import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GenerationConfig

from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy import exporting
from vrft.policy.policy import ModelPolicy, load
from vrft.types import Prompt

Load = Callable[..., LoadedModel]


@pytest.fixture
def adapted(load_tiny: Load) -> Callable[[str], ModelPolicy]:
    """Load a tiny model with an adapter that says something: at first its B is 0."""

    def load(family: str) -> ModelPolicy:
        loaded = load_tiny(family, train=True, lora=LoraConfig(r=4, target_modules=("all-linear",)))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in loaded.model.parameters():
                if weight.requires_grad:
                    weight += 0.05 * torch.randn(weight.shape, generator=generator)
        loaded.model.eval().requires_grad_(False)
        return ModelPolicy(loaded)

    return load


@pytest.mark.parametrize(
    ("family", "plain"),
    [("qwen2_5_vl", AutoModelForImageTextToText), ("qwen3", AutoModelForCausalLM)],
)
def test_a_merged_model_gives_plain_transformers_the_adapters_logits(
    family: str, plain: Any, adapted: Callable[[str], ModelPolicy], tmp_path: Path
) -> None:
    policy = adapted(family)
    tokens = torch.tensor([[5, 9, 11, 7]])
    with torch.no_grad():
        before = policy.loaded.model(input_ids=tokens).logits
        below = policy.loaded.adapter
        assert below is not None
        with below.disable_adapter():
            without = policy.loaded.model(input_ids=tokens).logits
    exporting.write(policy, tmp_path / "out", merge=True, dtype="float32")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    with torch.no_grad():
        after = plain.from_pretrained(tmp_path / "out")(input_ids=tokens).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert (after - without).abs().max() > 1e-3  # the adapter is in it


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["lm_head", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["embed_tokens"]},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_merged_model_has_embeddings_and_output_layer_apart_where_one_is_adapted(
    settings: dict[str, Any], tied: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = AutoModelForImageTextToText.from_pretrained(model_folder("qwen2_vl"))
    assert base.config.tie_word_embeddings
    source = model_folder("qwen2_vl")
    if not tied:
        base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach() * 0.7)
        base.config.tie_word_embeddings = base.config.text_config.tie_word_embeddings = False
        source = shutil.copytree(source, tmp_path / "base")
        (source / "manifest.json").unlink(missing_ok=True)
        base.save_pretrained(source)
    made = get_peft_model(base, PeftLoraConfig(r=4, **settings)).eval()
    made.peft_config["default"].base_model_name_or_path = str(source)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    made.save_pretrained(tmp_path / "adapter")
    tokens = torch.tensor([[5, 9, 11, 7]])
    policy = load(ModelConfig(name=str(tmp_path / "adapter")), device="cpu")
    exporting.write(policy, tmp_path / "out", merge=True, dtype="float32")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        expected, logits = (model(input_ids=tokens).logits for model in (made, merged))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert not written["tie_word_embeddings"]
    assert not written["text_config"]["tie_word_embeddings"]


def test_a_merged_model_answers_as_before(
    adapted: Callable[[str], ModelPolicy], tmp_path: Path, picture: Callable[..., Any]
) -> None:
    policy = adapted("qwen2_vl")
    prompts = [Prompt("Where?", (picture(56, 84),)), Prompt("And now?")]
    before = exporting.answers(policy, prompts)
    exporting.write(policy, tmp_path / "out", merge=True, dtype="float32")
    assert exporting.changed(before, tmp_path / "out", prompts, "float32") == 0
    assert exporting.changed(["x", before[1]], tmp_path / "out", prompts, "float32") == 1


def test_weights_are_written_in_the_precision_asked_for(load_tiny: Load, tmp_path: Path) -> None:
    exporting.write(ModelPolicy(load_tiny("qwen2_vl")), tmp_path, merge=False, dtype="bfloat16")
    dtypes = {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()}
    assert dtypes == {torch.bfloat16}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_weights_that_a_family_keeps_in_float32_are_written_so(
    load_tiny: Load, tmp_path: Path
) -> None:
    exporting.write(ModelPolicy(load_tiny("qwen3_5")), tmp_path, merge=False, dtype="bfloat16")
    kept = {
        name.rpartition(".")[2]
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
        if tensor.dtype == torch.float32
    }
    assert kept == {"A_log"}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_a_weight_that_the_precision_does_not_hold_is_refused(load_tiny: Load) -> None:
    policy = ModelPolicy(load_tiny("qwen3"))
    with torch.no_grad():
        policy.loaded.head.weight[0, 0] = 1e5  # the largest number of float16 is 65,504
    with pytest.raises(UserError, match=r"--dtype float16: the weight .* no finite number"):
        exporting.cast(policy.loaded.core, policy.loaded.family, "float16")


def test_plain_transformers_decode_without_a_penalty_and_end_where_turns_end(
    load_tiny: Load, tmp_path: Path
) -> None:
    loaded = load_tiny("qwen2_5_vl")
    # As published models have it, and a base model: the end of a turn is not among its ends.
    loaded.core.generation_config = GenerationConfig(
        repetition_penalty=1.05, do_sample=True, top_k=1, eos_token_id=loaded.tokenizer.pad_token_id
    )
    exporting.write(ModelPolicy(loaded), tmp_path, merge=False, dtype="float32")
    written = GenerationConfig.from_pretrained(tmp_path)
    assert set(written.eos_token_id) == loaded.end_ids
    assert written.suppress_tokens == list(loaded.banned_ids)
    said = json.loads((tmp_path / "generation_config.json").read_text())
    assert {"repetition_penalty", "do_sample", "top_k", "temperature"} & said.keys() == set()


def test_what_a_folder_holds_beside_weights_is_what_was_trained_with(
    load_tiny: Load, tmp_path: Path
) -> None:
    loaded = load_tiny("qwen2_5_vl", min_pixels=56 * 56, max_pixels=100 * 100)
    exporting.write(ModelPolicy(loaded), tmp_path, merge=False, dtype="bfloat16")
    pictures = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (pictures["min_pixels"], pictures["max_pixels"]) == (56 * 56, 100 * 100)
    assert (tmp_path / "chat_template.jinja").read_text() == loaded.processor.chat_template  # type: ignore[union-attr]
    assert (tmp_path / "tokenizer.json").is_file() and (
        tmp_path / "processor_config.json"
    ).is_file()


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_a_family_with_videos_of_its_own_names_their_processor(
    family: str, load_tiny: Load, tmp_path: Path
) -> None:
    exporting.write(ModelPolicy(load_tiny(family)), tmp_path, merge=False, dtype="bfloat16")
    videos = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
    assert videos["video_processor_type"] == "Qwen3VLVideoProcessor"


def test_a_model_without_adapter_is_not_merged(load_tiny: Load, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter"):
        exporting.write(
            ModelPolicy(load_tiny("qwen3")), tmp_path / "out", merge=True, dtype="float32"
        )
    assert not (tmp_path / "out").exists()


# --- the folder


def test_a_folder_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with exporting.staged(out) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a").write_text("a")
        assert not out.exists()
    assert sorted(path.name for path in out.iterdir()) == ["part"]  # and no lock
    assert list(out.parent.iterdir()) == [out]


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exporting.staged(tmp_path / "out") as folder:
        (folder / "half").write_text("h")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_deleted_first(tmp_path: Path) -> None:
    left = tmp_path / ".out.unfinished"
    (left / "part").mkdir(parents=True)
    (left / "part" / "a").write_text("a")
    (left / "model.safetensors").write_text("half")
    with exporting.staged(tmp_path / "out") as folder:
        (folder / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "config.json"]


def test_two_processes_do_not_write_the_same_folder(tmp_path: Path) -> None:
    with exporting.staged(tmp_path / "out") as folder:
        (folder / "mine").write_text("m")
        with (
            pytest.raises(UserError, match="an export writes there"),
            exporting.staged(tmp_path / "out"),
        ):
            pass
        assert (folder / "mine").exists()


def test_a_name_that_was_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="exists already"), exporting.staged(out):
        out.mkdir()
        (out / "other").write_text("o")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other"]


def test_only_a_new_or_empty_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("f")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("file", "full", "link"):
        with pytest.raises(UserError, match=f"{name}: exists already; name a new folder"):
            exporting.check_new(tmp_path / name)
    with pytest.raises(UserError, match="File name too long; name another"):
        exporting.check_new(tmp_path / ("n" * 300))
    for name in ("empty", "new"):
        exporting.check_new(tmp_path / name)
    with exporting.staged(tmp_path / "empty") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "empty" / "a").exists()
