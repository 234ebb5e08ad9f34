"""Two processes over gloo share the server of the main one: it is a small HTTP server here.

All runs of an engine are made in one launch, one after the other: starting takes longest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import vllm_server as fake
from fakes.folders import FAKES
from fakes.launching import Launch, launch
from fakes.numbers_server import numbers
from safetensors.torch import load_file

from vrft import config
from vrft.runs.run_log import read_metrics
from vrft.training import train

pytestmark = pytest.mark.distributed

GENERATE = "/inference/v1/generate"

Settings = Callable[..., list[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, fake.Answers]]:
    with fake.serving(numbers) as running:
        yield running


@pytest.fixture(scope="module")
def settings(server: tuple[str, fake.Answers], model_folder: Callable[[str], Path]) -> Settings:
    """Three steps of two prompts without pictures, sampled by the server."""
    task = FAKES / "plain_letters.py"

    def make(folder: Path, prompts: int, *more: str) -> list[str]:
        return [f"task={task}", f"model={model_folder('qwen2')}", "model.dtype=float32",
                "algorithm.num_generations=3", "sampling.max_completion_length=5",
                "algorithm.importance_sampling=off", "rollout.engine=vllm",
                f"rollout.vllm.url={server[0]}", "rollout.vllm.max_logprob_difference=1000",
                f"train.per_device_train_batch_size={prompts}", "train.max_steps=3",
                "train.save_steps=2", "train.learning_rate=1e-3", "train.adam_epsilon=1e-3",
                f"train.output_dir={folder}", *more]  # fmt: skip

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


def runs_of(asked: list[tuple[str, Any]]) -> list[list[tuple[str, Any]]]:
    """The requests of each of several runs: each begins with weights and a request of one token."""
    starts, weights = [], 0
    for number, (path, body) in enumerate(asked):
        if path == "/collective_rpc":
            weights = number
        if path == GENERATE and body["sampling_params"]["max_tokens"] == 1:
            starts.append(weights)
    return [asked[first:last] for first, last in zip(starts, [*starts[1:], None], strict=True)]


FIRST, STEP, PROBE = (1, 1), (3, 5), (1, 5)
"""The server's first request, one for a prompt's rollouts, and a comparison before those ahead."""


@pytest.fixture(scope="module")
def alone(
    settings: Settings, server: tuple[str, fake.Answers], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], tuple[Path, Any]]:
    """The run of one process with so many steps ahead, and what the server was asked; made once."""
    made: dict[int, tuple[Path, Any]] = {}

    def run(ahead: int) -> tuple[Path, Any]:
        if ahead not in made:
            folder = tmp_path_factory.mktemp("alone") / str(ahead)
            server[1].asked.clear()
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(str(FAKES))
                train.train(config.load(None, settings(folder, 2, f"rollout.ahead={ahead}")))
            made[ahead] = folder, between_exchanges(server[1].asked)
        return made[ahead]

    return run


@pytest.fixture(scope="module")
def launched(
    settings: Settings, server: tuple[str, fake.Answers], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Launch, dict[str, Any]]]:
    """The launch of an engine, and what the server was asked by each of its runs; made once."""
    made: dict[str, tuple[Launch, dict[str, Any]]] = {}

    def run(engine: str) -> tuple[Launch, dict[str, Any]]:
        if engine not in made:
            folder = tmp_path_factory.mktemp(engine)

            def fresh(name: str, ahead: int) -> dict[str, Any]:
                return {
                    "name": name,
                    "arguments": settings(folder / name, 1, f"rollout.ahead={ahead}"),
                }

            cases = [fresh("ahead-1", 1)]
            if engine == "torchrun":
                copied = [str(folder / "ahead-1"), str(folder / "again")]
                again = {"name": "again", "copy": copied, "arguments": ["--resume", copied[1]]}
                cases += [again, fresh("ahead-0", 0)]
            server[1].asked.clear()
            done = launch(engine, folder, cases)
            parts = map(between_exchanges, runs_of(server[1].asked))
            names = [case["name"] for case in cases]
            made[engine] = done, dict(zip(names, parts, strict=True))
        return made[engine]

    return run


@pytest.mark.parametrize(
    ("engine", "ahead"), [("torchrun", 0), ("torchrun", 1), ("fsdp2", 1), ("zero3", 1)]
)
def test_two_processes_share_a_server_and_make_the_update_of_one(
    engine: str,
    ahead: int,
    launched: Callable[[str], tuple[Launch, dict[str, Any]]],
    alone: Callable[[int], tuple[Path, Any]],
    model_folder: Callable[[str], Path],
) -> None:
    one, asked_alone = alone(ahead)
    done, asked = launched(engine)
    two = done.run(f"ahead-{ahead}")
    # Weights are sent once after each step, and no process asks too early or too late.
    probes = [PROBE] * 2 * ahead
    assert asked[f"ahead-{ahead}"] == asked_alone == [
        sorted([FIRST] + [STEP] * 2 * (1 + ahead)),
        sorted([STEP] * 2 + probes),
        [] if ahead else [STEP] * 2,
    ]  # fmt: skip
    before, first, second = (
        load_file(folder / "model.safetensors")
        for folder in (model_folder("qwen2"), one / "final", two / "final")
    )
    moved = sum(float((first[name] - before[name]).square().sum()) for name in before) ** 0.5
    apart = sum(float((first[name] - second[name]).square().sum()) for name in before) ** 0.5
    assert 0 < apart < 1e-5 * moved or apart == 0 < moved
    names = ("reward", "loss", "num_tokens", "rollout/logp_difference/max")
    for a, b in zip(*(read_metrics(run / "metrics.jsonl") for run in (one, two)), strict=True):
        assert [a[name] for name in names] == pytest.approx([b[name] for name in names], 1e-4)


def test_rollouts_ahead_of_two_processes_are_taken_over_when_they_go_on(
    launched: Callable[[str], tuple[Launch, dict[str, Any]]],
) -> None:
    """The third step's stand in the checkpoint of the second, so that nobody samples them again."""
    done, asked = launched("torchrun")
    assert asked["again"] == [[FIRST]]
    whole, resumed = (load_file(done.run(name) / "final" / "model.safetensors")
                      for name in ("ahead-1", "again"))  # fmt: skip
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
    case = {"name": "run", "arguments": settings(tmp_path / "run", 1, "train.save_steps=1")}
    done = launch("torchrun", tmp_path, [case])
    assert [row["status"] for row in done.outcome("run")] == [2, 2]
    assert time.monotonic() - began < 120
    for row in done.outcome("run"):
        lines = [line for line in row["said"].splitlines() if line.startswith("vrft: error: ")]
        assert lines and all("does not return 3 completions" in line for line in lines), done.said
        assert "Traceback" not in row["said"]
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
