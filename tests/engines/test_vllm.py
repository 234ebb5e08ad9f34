"""Rollouts by a real vLLM server on the CPU: run by `make test-vllm`.

Each server takes 40 seconds to start and 3 GB, so the tests of one model share one, in their order,
and it ends before the next one starts.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import processes, standard_shape
from fakes.folders import FAKES, ROOT
from PIL import Image
from torch import Tensor

from vrft import policy
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config, LoraConfig, ModelConfig
from vrft.engines import engines
from vrft.engines import server as vllm_server
from vrft.engines.client import ServerFailure
from vrft.engines.distance import logprob_differences
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]

PYTHON = ROOT / ".venv-vllm/bin/python"
SAMPLING = SamplingConfig(max_completion_length=24, max_prompt_length=400)
EXACT = 1e-4
"""The largest difference of log-probabilities in float32; measured are 2e-6 to 2e-5."""


def settings(model: Path, **vllm: Any) -> Config:
    """Return the settings of a run whose rollouts a server samples."""
    server = VllmConfig(python=str(PYTHON), max_num_seqs=16, timeout=300.0, **vllm)
    return Config(
        model=ModelConfig(name=str(model), dtype="float32"),
        sampling=SAMPLING,
        rollout=RolloutConfig("vllm", server),
    )


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """Return a picture in which every pixel counts: resized otherwise, it is another one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def prompts() -> list[Prompt]:
    """Return prompts with one picture, with two of different sizes, and with none."""
    return [
        Prompt("Where is the key?", (noise(97, 131),)),
        Prompt("Which is larger?", (noise(56, 84, 1), noise(112, 56, 2))),
        Prompt("What is there?"),
    ]


def differences(engine: VllmEngine, images: tuple[Image.Image, ...] = (), text: str = "") -> Tensor:
    """Sample eight completions of the prompts and compare their log-probabilities."""
    asked = [Prompt(text, images)] if text else prompts()
    encoded = engine.policy.encode(asked)
    groups = engine.sample(encoded, 8, SAMPLING, range(len(encoded)))
    return logprob_differences(engine.policy.loaded, encoded, groups, SAMPLING)


def stir(model: ModelPolicy, part: str, seed: int) -> None:
    """Change the weights whose names contain a text, as an update would, only more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if part in name:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)


class Start:
    """Starts the engines of models of standard shape, of which at most one runs."""

    def __init__(self, folder: Callable[[str], Path]) -> None:
        self.folder = folder
        self.running: list[VllmEngine] = []

    def __call__(self, family: Any, *, tied: bool, rank: int = 0, **vllm: Any) -> VllmEngine:
        """Return the engine of a family's model; the one before it is ended first."""
        self.end()
        folder = self.folder(family)
        model = standard_shape.write(folder / "model", family, tied=tied)
        config = settings(model, **vllm)
        config = replace(config, model=replace(config.model, lora=LoraConfig(r=rank)))
        trained = policy.load(config.model, train=True, device="cpu")
        engine = engines.start(config, trained, folder / "run")
        assert isinstance(engine, VllmEngine)
        self.running.append(engine)
        return engine

    def end(self) -> None:
        """End the engine that runs, if one does."""
        while self.running:
            self.running.pop().close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    made = Start(tmp_path_factory.mktemp)
    yield made
    made.end()


# --- Qwen2-VL with tied embeddings: everything about weights and caches


@pytest.fixture(scope="module")
def qwen2_vl(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmEngine]:
    """The engine of a server whose workers can also exchange weights wrongly."""
    folder = tmp_path_factory.mktemp("launcher")
    launcher, worker = vllm_server.LAUNCHER, vllm_server.LAUNCHER.with_name("worker.py")
    shutil.copy(launcher, folder)
    _, wrong = (FAKES / "stale_worker.py").read_text().split("repack_heads\n", 1)
    (folder / worker.name).write_text(worker.read_text() + wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm_server, "LAUNCHER", folder / launcher.name)
        yield start("qwen2_vl", tied=True)


def test_log_probabilities_are_the_models_own(qwen2_vl: VllmEngine) -> None:
    compared = differences(qwen2_vl)
    assert len(compared) > 200  # 3 prompts x 8 completions of up to 24 tokens
    assert float(compared.max()) < EXACT
    assert float(qwen2_vl.differences.max()) < EXACT  # as the engine compares by itself


def test_a_seed_repeats_a_group_and_its_members_differ(qwen2_vl: VllmEngine) -> None:
    encoded = qwen2_vl.policy.encode(prompts()[:1])
    first, second = (qwen2_vl.sample(encoded, 8, SAMPLING, [7])[0] for _ in range(2))
    assert [r.tokens for r in first] == [r.tokens for r in second]
    assert len({r.tokens for r in first}) == 8
    (other,) = qwen2_vl.sample(encoded, 8, SAMPLING, [8])
    assert [r.tokens for r in other] != [r.tokens for r in first]


def test_greedy_answers_are_those_of_our_own_decoding(qwen2_vl: VllmEngine) -> None:
    greedy = replace(SAMPLING, temperature=0.0)
    encoded = qwen2_vl.policy.encode(prompts())
    served = qwen2_vl.sample(encoded, 1, greedy, [0, 1, 2])
    own = qwen2_vl.policy.sample(encoded, 1, greedy, [0, 1, 2])
    assert [group[0].tokens for group in served] == [group[0].tokens for group in own]
    assert [group[0].completion for group in served] == [group[0].completion for group in own]
    assert [group[0].finished for group in served] == [group[0].finished for group in own]


def test_the_sampling_distribution_is_compared_at_its_settings(qwen2_vl: VllmEngine) -> None:
    sampling = replace(SAMPLING, temperature=0.7, top_p=0.9, top_k=40)
    encoded = qwen2_vl.policy.encode(prompts())
    groups = qwen2_vl.sample(encoded, 4, sampling, [0, 1, 2])
    compared = logprob_differences(qwen2_vl.policy.loaded, encoded, groups, sampling)
    assert float(compared.max()) < EXACT


def test_more_prompts_than_the_server_reads_at_a_time_are_served(qwen2_vl: VllmEngine) -> None:
    # With a seed, a prompt that was read in parts would end the engine of a CPU.
    words = [Prompt(f"{number}" + " What is there?" * 60) for number in range(12)]
    encoded = qwen2_vl.policy.encode(words)
    assert sum(len(prompt.tokens) for prompt in encoded) > 1.2 * vllm_server.CPU_BATCH
    groups = qwen2_vl.sample(encoded, 2, SAMPLING, range(12))
    compared = logprob_differences(qwen2_vl.policy.loaded, encoded, groups, SAMPLING)
    assert float(compared.max()) < EXACT


@pytest.mark.parametrize("part", ["visual", "layers", "embed_tokens"])
def test_new_weights_are_served_with_tied_embeddings(qwen2_vl: VllmEngine, part: str) -> None:
    before = differences(qwen2_vl)  # also fills the caches of prefixes and pictures
    stir(qwen2_vl.policy, part, seed=1)
    stale = differences(qwen2_vl)
    qwen2_vl.sync()
    assert float(before.max()) < EXACT
    assert float(stale.max()) > 0.01  # the comparison does tell old weights
    assert float(differences(qwen2_vl).max()) < EXACT


def reset_prefixes_only(engine: VllmEngine) -> None:
    """Exchange weights as TRL does: no pause, and the cache of prefixes alone is emptied."""
    engine.files.write()
    client, path = engine.client, str(engine.files.weights)
    client.call("POST", "/collective_rpc", {"method": "vrft_stale_reload", "args": [path]}, 60.0)
    client.call("POST", "/reset_prefix_cache")


def test_old_features_of_pictures_show_in_the_comparison(qwen2_vl: VllmEngine) -> None:
    picture = (noise(112, 112, 3),)
    assert float(differences(qwen2_vl, picture, "Where?").max()) < EXACT
    features = qwen2_vl.client.call(
        "POST", "/collective_rpc", {"method": "vrft_cached_pictures", "args": []}
    )
    assert features["results"][0]["pictures"] > 0  # there is a cache that can be stale
    stir(qwen2_vl.policy, "visual", seed=2)
    reset_prefixes_only(qwen2_vl)
    assert float(differences(qwen2_vl, picture, "Where?").max()) > 0.01
    qwen2_vl.sync()
    assert float(differences(qwen2_vl, picture, "Where?").max()) < EXACT


def test_a_strict_run_ends_at_a_difference(qwen2_vl: VllmEngine) -> None:
    encoded = qwen2_vl.policy.encode(prompts())
    lenient = qwen2_vl.settings
    stir(qwen2_vl.policy, "layers", seed=3)
    qwen2_vl.compared = -1
    qwen2_vl.settings = replace(lenient, strict=True)
    with pytest.raises(UserError, match=r"differ from the model's by [\d.]+ .*mean"):
        qwen2_vl.sample(encoded, 2, SAMPLING, [0, 1, 2])
    qwen2_vl.settings = lenient
    qwen2_vl.sync()


def test_a_request_that_cannot_be_served_is_refused_in_the_servers_words(
    qwen2_vl: VllmEngine,
) -> None:
    encoded = qwen2_vl.policy.encode(prompts()[2:])
    with pytest.raises(UserError, match="max_num_seqs"):
        qwen2_vl.sample(encoded, 17, SAMPLING, [0])
    assert float(differences(qwen2_vl).max()) < EXACT


def test_an_engine_that_hangs_ends_the_run_with_its_last_words(qwen2_vl: VllmEngine) -> None:
    assert qwen2_vl.server is not None
    session = qwen2_vl.server.process.pid
    encoded = qwen2_vl.policy.encode(prompts())
    qwen2_vl.settings = replace(qwen2_vl.settings, timeout=5.0)
    for process in processes.named(session, "EngineCore"):
        os.kill(process, signal.SIGSTOP)
    with pytest.raises(
        UserError, match=r"it hangs: no token for 5 s \(rollout.vllm.timeout\); its last words: .+"
    ):
        qwen2_vl.sample(encoded, 2, SAMPLING, [0, 1, 2])
    assert processes.of_session(session) == []


# --- the other family, untied embeddings, adapters


@pytest.fixture(scope="module")
def qwen2_5_vl(start: Start) -> VllmEngine:
    """The engine of a server that is sent the adapter alone."""
    return start("qwen2_5_vl", tied=False, rank=4, lora="adapter")


@pytest.fixture(scope="module")
def merged(qwen2_5_vl: VllmEngine, tmp_path_factory: pytest.TempPathFactory) -> VllmEngine:
    """An engine that attaches to that server and sends all weights, the adapter merged."""
    server = VllmConfig(url=qwen2_5_vl.url, timeout=300.0)
    config = replace(qwen2_5_vl.config, rollout=RolloutConfig("vllm", server))
    return VllmEngine(config, qwen2_5_vl.policy, tmp_path_factory.mktemp("merged"))


def test_an_adapter_is_served_and_the_one_before_it_no_more(qwen2_5_vl: VllmEngine) -> None:
    assert float(differences(qwen2_5_vl).max()) < EXACT
    for seed in (1, 2):
        stir(qwen2_5_vl.policy, "lora_", seed)
        assert float(differences(qwen2_5_vl).max()) > 0.01
        before = qwen2_5_vl.model
        qwen2_5_vl.sync()
        assert float(differences(qwen2_5_vl).max()) < EXACT
        newest, qwen2_5_vl.model = qwen2_5_vl.model, before
        with pytest.raises(UserError, match=f"The model `{before}` does not exist"):
            differences(qwen2_5_vl)
        qwen2_5_vl.model = newest
    names = [row["id"] for row in qwen2_5_vl.client.call("GET", "/v1/models")["data"]]
    assert names == ["policy", qwen2_5_vl.model]
    sent = sum(file.stat().st_size for file in qwen2_5_vl.files.adapter.iterdir())
    assert 10 * sent < qwen2_5_vl.files.weights.stat().st_size


def test_a_merged_adapter_is_served_by_who_attaches_and_does_not_end_the_server(
    qwen2_5_vl: VllmEngine, merged: VllmEngine, tmp_path: Path
) -> None:
    assert float(differences(merged).max()) < EXACT
    stir(merged.policy, "lora_", seed=3)
    assert float(differences(merged).max()) > 0.01
    merged.sync()
    assert float(differences(merged).max()) < EXACT
    other = VllmEngine(merged.config, merged.policy, tmp_path)
    other.close()
    assert float(differences(merged).max()) < EXACT


@pytest.mark.parametrize("part", ["visual", "embed_tokens", "lm_head"])
def test_new_weights_are_served_with_untied_embeddings(merged: VllmEngine, part: str) -> None:
    stir(merged.policy, part, seed=2)
    assert float(differences(merged).max()) > 0.01
    merged.sync()
    assert float(differences(merged).max()) < EXACT


def test_an_adapter_and_its_base_are_served_by_who_attaches(
    qwen2_5_vl: VllmEngine, merged: VllmEngine, tmp_path: Path
) -> None:
    """The server holds merged weights, which are taken for the base unless it is sent."""
    server = VllmConfig(url=merged.url, timeout=300.0, lora="adapter")
    config = replace(merged.config, rollout=RolloutConfig("vllm", server))
    engine = VllmEngine(config, merged.policy, tmp_path)
    assert float(differences(engine).max()) < EXACT
    stir(engine.policy, "lora_", seed=5)
    engine.sync()
    assert float(differences(engine).max()) < EXACT
    engine.close()


def test_qwen3_vl_is_served_with_new_weights(start: Start) -> None:
    engine = start("qwen3_vl", tied=True)
    assert float(differences(engine).max()) < EXACT
    stir(engine.policy, "", seed=2)
    engine.sync()
    assert float(differences(engine).max()) < EXACT


# --- the ends of servers

TRAINER = """
import sys
from pathlib import Path
from vrft.config import load
from vrft.engines.server import Server
config = load(None, [f"rollout.vllm.python={sys.argv[1]}", "rollout.engine=vllm"])
scratch = Path(sys.argv[2])
scratch.mkdir()
server = Server(config, Path(sys.argv[3]), scratch, scratch.parent / "log", cpu=True)
print(server.process.pid, flush=True)
server.process.wait()
"""


def test_no_process_outlives_a_trainer_that_is_killed(start: Start, tmp_path: Path) -> None:
    start.end()
    model = standard_shape.write(tmp_path / "model", "qwen2_vl")
    command = [sys.executable, "-c", TRAINER, str(PYTHON), str(tmp_path / "scratch"), str(model)]
    trainer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert trainer.stdout is not None
    session = int(trainer.stdout.readline())
    # As early as the engine is there: it must not depend on a server that is up.
    try:
        processes.wait_until(lambda: processes.named(session, "EngineCore"), 600)
    finally:
        trainer.kill()
        trainer.wait()
        trainer.stdout.close()
    processes.wait_until(lambda: not processes.of_session(session), 120)
    processes.wait_until(lambda: not (tmp_path / "scratch").exists(), 60)


def test_a_server_that_does_not_start_ends_the_run_with_its_last_words(
    start: Start, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"ended with status \d+; its last words: .*no-such-option"):
        start("qwen2_vl", tied=True, arguments=("--no-such-option",))


def test_a_failure_is_no_mistake_of_the_users_by_itself() -> None:
    assert not issubclass(ServerFailure, UserError)
