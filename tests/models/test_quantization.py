"""Language models in four bits: what is quantised, that a group shares its prompt, what is refused.

Whatever needs bitsandbytes is skipped without it, and run by `make test-distributed`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vrft.config.rollout import RolloutConfig, SamplingConfig
from vrft.config.schema import AlgorithmConfig, Config, LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import encoding, families, load_model, quantization
from vrft.models.loaded import LoadedModel
from vrft.policy import sampling
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

LORA = ModelConfig(lora=LoraConfig(r=4))
NF4 = ModelConfig(quantization="nf4", lora=LoraConfig(r=4))


@pytest.fixture
def load_nf4(load_tiny: Callable[..., LoadedModel]) -> Callable[..., LoadedModel]:
    """A tiny model whose layers are nf4, with an adapter that says something."""
    pytest.importorskip("bitsandbytes")

    def load(family: str, **settings: Any) -> LoadedModel:
        wanted = {"quantization": "nf4", "lora": LoraConfig(r=4), **settings}
        loaded = load_tiny(family, train=True, **wanted)
        torch.manual_seed(1)
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, std=0.05)
        return loaded

    return load


def is_four_bits(module: torch.nn.Module) -> bool:
    return type(module).__name__ == "Linear4bit" and hasattr(module, "quant_state")


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_5", "qwen3"])
def test_the_linear_layers_of_the_decoder_are_quantised_and_nothing_else(
    family: str, load_nf4: Callable[..., LoadedModel]
) -> None:
    loaded = load_nf4(family)
    paths = [path for path, part in loaded.core.named_modules() if is_four_bits(part)]
    assert paths and all(".layers." in path and "visual" not in path for path in paths)
    decoder = loaded.language_model.named_modules()
    plain = [path for path, part in decoder if type(part) is torch.nn.Linear]
    assert plain and all("lora_" in path for path in plain)
    stored = {w.dtype for w in loaded.core.parameters() if not quantization.is_quantized(w)}
    assert stored == {torch.float32}


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "qwen3"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_shared_prompt_gives_the_log_probs_and_gradients_of_the_repeated_forward(
    family: str,
    checkpointing: bool,
    load_nf4: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
) -> None:
    loaded = load_nf4(family, gradient_checkpointing=checkpointing)
    sizes = ((56, 56), (112, 84)) if loaded.family.has_vision else ()
    pictures = [(picture(*size),) for size in sizes] or [(), ()]
    words = ("Where?", "And where is the other of them?")
    prompts = [
        encoding.encode(loaded, Prompt(text, some))
        for text, some in zip(words, pictures, strict=True)
    ]
    groups = [[[5, 6, 7], [8, 9]], [[4, 4, 4, 4], [11]]]
    # a rollout first, as in a run: it must leave the weights as they are
    loaded.model.eval()
    greedy = SamplingConfig(max_completion_length=3, temperature=0.0)
    sampling.sample(loaded, prompts, 2, greedy, [0, 1])
    loaded.model.train()
    logps, gradients = [], []
    for shared in (True, False):
        loaded.shared_prefix = shared
        loaded.model.zero_grad()
        logps.append(GroupLogps(loaded)(prompts, groups))
        logps[-1].sum().backward()
        trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
        gradients.append([weight.grad for weight in trained])
    assert (logps[0] - logps[1]).abs().max() < 1e-5
    for ours, plain in zip(*gradients, strict=True):
        assert ours is not None and plain is not None and plain.abs().max() > 0
        assert torch.allclose(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_greedy_rollout_is_generate_of_the_same_quantised_model(
    load_nf4: Callable[..., LoadedModel],
) -> None:
    loaded = load_nf4("qwen2")
    loaded.model.eval()
    loaded.end_ids = frozenset()
    prompt = encoding.encode(loaded, Prompt("What is it?"))
    greedy = SamplingConfig(max_completion_length=8, temperature=0.0)
    ours = sampling.sample(loaded, [prompt], 1, greedy, [0])[0][0]
    tokens = prompt.tokens.unsqueeze(0)
    generated: Any = loaded.model.generate(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
        max_new_tokens=8, min_new_tokens=8,
    )  # fmt: skip
    assert ours == generated[0, len(prompt.tokens) :].tolist()


def test_a_weight_stands_for_twice_its_bytes_and_has_scales_beside_them(
    load_nf4: Callable[..., LoadedModel],
) -> None:
    loaded = load_nf4("qwen2")
    layer: Any = loaded.core.get_submodule("model.layers.0.mlp.up_proj")
    rows, columns = layer.out_features, layer.in_features
    assert quantization.numel(layer.weight) == rows * columns == 2 * layer.weight.nbytes
    state = layer.weight.quant_state
    beside = (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
    held = layer.weight.nbytes + sum(tensor.nbytes for tensor in beside)
    assert quantization.nbytes(layer.weight) == held
    plain = loaded.head.weight
    assert (quantization.numel(plain), quantization.nbytes(plain)) == (plain.numel(), plain.nbytes)


def test_scales_are_counted_in_blocks() -> None:
    # 65,536 weights: half a byte each; 1,024 scales of a byte; 4 scales of those in float32;
    # 16 + 256 values of the two tables and an offset, in float32
    assert quantization.nf4_bytes(65536) == 32768 + 1024 + 4 * 4 + (16 + 256 + 1) * 4


REFUSED = [
    (replace(NF4, lora=LoraConfig()), {}, "cannot be trained themselves; set model.lora.r"),
    (NF4, {"algorithm": AlgorithmConfig(name="sft")}, "algorithm=sft runs in TRL's trainer"),
    (NF4, {"rollout": RolloutConfig(engine="vllm")}, "rollout.engine=vllm would sample from"),
]


@pytest.mark.parametrize(("model", "others", "words"), REFUSED)
def test_settings_that_cannot_run_are_refused_by_name(
    model: ModelConfig, others: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=rf"^model.quantization=nf4: .*{words}"):
        quantization.check_training(Config(model=model, **others))
    quantization.check_training(Config(model=replace(model, quantization=None), **others))


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def quantised_already(model_folder: Path, folder: Path, settings: dict[str, Any]) -> str:
    """Return a folder whose config.json says that its weights are quantised."""
    shutil.copytree(model_folder, folder)
    said = json.loads((folder / "config.json").read_text()) | {"quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(said))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        # also with an adapter: layers of these kinds are no linear ones
        (
            AWQ,
            {"model": LORA},
            r"quantised \(awq\), and no adapter is trained on such weights here",
        ),
        ({"quant_method": "gptq", "bits": 4}, {}, r"\(gptq\), and no adapter"),
        ({"quant_method": "fp8"}, {"model": LORA}, r"\(fp8\), and no adapter"),
        (BNB | {"load_in_4bit": False, "load_in_8bit": True}, {"model": LORA}, "8 bits"),
        # before methods had names
        ({"load_in_4bit": True}, {}, r"\(bitsandbytes, 4 bits\): weights of four bits cannot be"),
        (BNB, {}, "cannot be trained themselves; set model.lora.r .* or name the model that they"),
        (BNB, {"model": LORA, "algorithm": AlgorithmConfig(name="sft")}, "algorithm=sft runs in"),
        (BNB, {"model": LORA, "rollout": RolloutConfig(engine="vllm")}, "engine=vllm would sample"),
        (BNB, {"model": NF4}, "are quantised already; name the model .*, or leave it out"),
        (BNB, {"model": LORA}, "which needs the package bitsandbytes; pip install 'vrft"),
        ({"odd": 1}, {"model": LORA}, "by no method that it names"),
    ],
)
def test_a_checkpoint_that_is_quantised_already_is_refused_before_a_run_and_when_it_is_loaded(
    settings: dict[str, Any],
    changes: dict[str, Any],
    words: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    name = quantised_already(model_folder("qwen2"), tmp_path / "model", settings)
    config = Config(**changes)
    config = replace(config, model=replace(config.model, name=name))
    with pytest.raises(UserError, match=words) as caught:
        quantization.check_training(config)
    assert "\n" not in str(caught.value)
    assert quantization.kind_of(str(model_folder("qwen2"))) == ""
    if {*changes} <= {"model"} and "needs the package" not in words:
        with pytest.raises(UserError, match=words):
            load_model(config.model, train=True, device="cpu")


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        (AWQ, "gptqmodel"),
        ({"quant_method": "gptq", "bits": 4}, "optimum"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
        ({"quant_method": "mine"}, "Unknown quantization type"),
    ],
)
def test_a_quantised_checkpoint_without_its_package_is_refused_in_one_line(
    settings: dict[str, Any],
    package: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    if find_spec(package.replace("-", "_")) is not None:
        pytest.skip(f"{package} is installed")
    name = quantised_already(model_folder("qwen2"), tmp_path / "model", settings)
    with pytest.raises(
        UserError, match=rf"cannot be loaded here \(.*{package}.*\); install what"
    ) as e:
        load_model(ModelConfig(name), device="cpu")
    assert "\n" not in str(e.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package bitsandbytes; pip install 'vrft\["):
        quantization.check_training(Config(model=NF4))
    quantization.check(ModelConfig())


def test_a_launch_that_cuts_weights_into_parts_is_refused() -> None:
    with pytest.raises(UserError, match="DeepSpeed and FSDP cannot cut weights of four bits"):
        quantization.check_launch(NF4, sharded=True)
    quantization.check_launch(NF4, sharded=False)
    quantization.check_launch(ModelConfig(), sharded=True)


def test_experts_and_weights_that_are_quantised_already_are_refused(
    model_folder: Callable[[str], Path],
) -> None:
    experts = families.read_config(str(model_folder("qwen3_vl_moe")))
    with pytest.raises(UserError, match="has experts, which bitsandbytes would leave as they are"):
        quantization.check_base("M", experts)
    dense = families.read_config(str(model_folder("qwen2")))
    quantization.check_base("M", dense)
    dense.quantization_config = {"quant_method": "fp8"}
    with pytest.raises(UserError, match="are quantised already; name the model"):
        quantization.check_base("M", dense)
