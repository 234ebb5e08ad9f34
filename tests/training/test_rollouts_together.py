"""Two processes over gloo share the server of the main one: it is a small HTTP server here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import vllm_server as fake
from fakes.folders import FAKES
from fakes.launched import launch
from fakes.numbers_server import numbers
from safetensors.torch import load_file

from vrft import config
from vrft.runs.run_log import read_metrics
from vrft.training import train

pytestmark = pytest.mark.distributed

GENERATE = "/inference/v1/generate"

Settings = Callable[..., list[str]]


@pytest.fixture
def server() -> Iterator[tuple[str, fake.Answers]]:
    with fake.serving(numbers) as running:
        yield running


@pytest.fixture
def settings(
    server: tuple[str, fake.Answers], model_folder: Callable[[str], Path], tmp_path: Path
) -> Settings:
    """Three steps of two prompts without pictures, sampled by the server."""
    task = FAKES / "plain_letters.py"

    def make(name: str, prompts: int, *more: str) -> list[str]:
        return [f"task={task}", f"model={model_folder('qwen2')}", "model.dtype=float32",
                "algorithm.num_generations=3", "sampling.max_completion_length=5",
                "algorithm.importance_sampling=off", "rollout.engine=vllm",
                f"rollout.vllm.url={server[0]}", "rollout.vllm.max_logprob_difference=1000",
                f"train.per_device_train_batch_size={prompts}", "train.max_steps=3",
                "train.save_steps=2", "train.learning_rate=1e-3", "train.adam_epsilon=1e-3",
                f"train.output_dir={tmp_path / name}", *more]  # fmt: skip

    return make


def between_exchanges(asked: list[tuple[str, Any]]) -> list[list[tuple[int, int]]]:
    """(completions, tokens) of the requests that were answered by each of the weights, in order."""
    parts: list[list[tuple[int, int]]] = []
    for path, body in asked:
        if path == "/collective_rpc":
            parts.append([])
        elif path == GENERATE:
            parts[-1].append((body["sampling_params"]["n"], body["sampling_params"]["max_tokens"]))
    return [sorted(part) for part in parts]


FIRST, STEP, PROBE = (1, 1), (3, 5), (1, 5)
"""The server's first request, one for a prompt's rollouts, and a comparison before those ahead."""


@pytest.mark.parametrize(
    ("engine", "ahead"),
    [
        ("torchrun", 0),
        ("torchrun", 1),
        *(pytest.param(name, 1, marks=pytest.mark.distributed) for name in ("fsdp2", "zero3")),
    ],
)
def test_two_processes_share_a_server_and_make_the_update_of_one(
    engine: str,
    ahead: int,
    settings: Settings,
    server: tuple[str, fake.Answers],
    monkeypatch: pytest.MonkeyPatch,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    _, answers = server
    monkeypatch.syspath_prepend(str(FAKES))
    one = train.train(config.load(None, settings("one", 2, f"rollout.ahead={ahead}")))
    alone = between_exchanges(answers.asked)
    answers.asked.clear()
    done = launch(engine, settings("two", 1, f"rollout.ahead={ahead}"))
    assert done.returncode == 0, done.stderr
    # Weights are sent once after each step, and no process asks too early or too late.
    probes = [PROBE] * 2 * ahead
    assert between_exchanges(answers.asked) == alone == [
        sorted([FIRST] + [STEP] * 2 * (1 + ahead)),
        sorted([STEP] * 2 + probes),
        [] if ahead else [STEP] * 2,
    ]  # fmt: skip
    before, first, second = (
        load_file(folder / "model.safetensors")
        for folder in (model_folder("qwen2"), one / "final", tmp_path / "two" / "final")
    )
    moved = sum(float((first[name] - before[name]).square().sum()) for name in before) ** 0.5
    apart = sum(float((first[name] - second[name]).square().sum()) for name in before) ** 0.5
    assert 0 < apart < 1e-5 * moved or apart == 0 < moved
    names = ("reward", "loss", "num_tokens", "rollout/logp_difference/max")
    for a, b in zip(*(read_metrics(tmp_path / run / "metrics.jsonl") for run in ("one", "two")),
                    strict=True):  # fmt: skip
        assert [a[name] for name in names] == pytest.approx([b[name] for name in names], 1e-4)


def test_rollouts_ahead_of_two_processes_are_taken_over_when_they_go_on(
    settings: Settings, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    """The third step's stand in the checkpoint of the second, so that nobody samples them again."""
    done = launch("torchrun", settings("run", 1, "rollout.ahead=1"))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    whole = load_file(run / "final" / "model.safetensors")
    for later in ("checkpoint-3", "final"):
        (run / later).rename(tmp_path / later)
    server[1].asked.clear()
    done = launch("torchrun", ["--resume", str(run)])
    assert done.returncode == 0, done.stderr
    assert between_exchanges(server[1].asked) == [[FIRST]]
    resumed = load_file(run / "final" / "model.safetensors")
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_all_processes_end_with_the_line_of_a_server_that_fails_one(
    settings: Settings, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    """One request of the second step gets no completions; nobody waits for the others for long."""
    _, answers = server
    count = 0

    def spoil(answer: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == 5:  # the first request, two of the first step, two of the second
            answer["choices"] = []

    answers.spoil = spoil
    began = time.monotonic()
    done = launch("torchrun", settings("run", 1, "train.save_steps=1"))
    assert done.returncode != 0 and time.monotonic() - began < 120
    lines = [line for line in done.stderr.splitlines() if line.startswith("vrft: error: ")]
    assert lines and all("does not return 3 completions" in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr.split("torch/distributed")[0]
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
