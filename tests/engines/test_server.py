"""A server that is started: its arguments, its log, and its end."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import processes, standard_shape

from vrft import config
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config, LoraConfig, ModelConfig
from vrft.demo import tiny
from vrft.engines import server as vllm_server
from vrft.engines.client import ServerFailure

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


def test_an_adapter_has_its_arguments(tmp_path: Path) -> None:
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    made = Config(
        model=ModelConfig(str(model), lora=LoraConfig(r=12)),
        rollout=RolloutConfig("vllm", VllmConfig(lora="adapter")),
    )
    given = vllm_server.arguments(made, model, 8000, cpu=False)
    assert dict(pairwise(given))["--max-lora-rank"] == "16" and "--enable-lora" in given
    merged = replace(made, rollout=RolloutConfig("vllm", VllmConfig()))
    assert "--enable-lora" not in vllm_server.arguments(merged, model, 8000, cpu=False)


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


def test_a_server_sees_the_graphics_cards_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # the trainer's
    assert vllm_server.environment({})["CUDA_VISIBLE_DEVICES"] == "0,1"
    for word in ("7", "6,7"):
        given = config.load(None, ["task=math", f"rollout.vllm.devices={word}"]).rollout.vllm
        assert vllm_server.environment({}, given.devices)["CUDA_VISIBLE_DEVICES"] == word


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
        vllm = VllmConfig(python=sys.executable, start_timeout=timeout)
        made = Config(rollout=RolloutConfig("vllm", vllm))
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
