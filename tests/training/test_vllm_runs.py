"""Runs whose rollouts a real vLLM server samples on the CPU: run by `make test-vllm`.

A server takes 40 seconds to start and 3 GB. One run starts its own, which must end; the others
attach to one that is started after that, as each of them gives it its own weights first.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import processes, standard_shape
from fakes.folders import FAKES, ROOT
from fakes.launched import launch
from fakes.recorded import Recorded
from safetensors.torch import load_file

from vrft import cli, config
from vrft.engines import server as vllm_server
from vrft.engines.vllm import VllmEngine
from vrft.rollouts import rollouts
from vrft.rollouts.rollout_rows import Sampled
from vrft.rollouts.rollouts import Rollouts
from vrft.runs.run_log import read_metrics
from vrft.training import checkpoint, loop, train
from vrft.training.run import Run
from vrft.types import Rollout

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]

PYTHON = ROOT / ".venv-vllm/bin/python"
DIFFERENCE = "sampling/sampling_logp_difference/max"
BAN = "rollout/ban_difference/max"
Groups = list[list[tuple[Rollout, ...]]]
Settings = Callable[..., list[str]]


SERVED = ("rollout.engine=vllm", "rollout.vllm.strict=true", "rollout.vllm.timeout=300")
STARTED = (*SERVED, f"rollout.vllm.python={PYTHON}", "rollout.vllm.max_num_seqs=16")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standard_shape.write(tmp_path_factory.mktemp("model") / "model", "qwen2_vl")


@pytest.fixture(scope="module")
def attached(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The settings of a run that attaches to a server, which is ended with this file."""
    folder = tmp_path_factory.mktemp("server")
    asked = config.load(None, ["sampling.max_prompt_length=500", *STARTED])
    server = vllm_server.Server(asked, model, folder / "scratch", folder / "vllm.log", cpu=True)
    try:
        server.wait()
        yield (*SERVED, f"rollout.vllm.url={server.client.url}", "rollout.vllm.python=''")
    finally:
        server.close()


@pytest.fixture(scope="module")
def settings(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three steps of prompts without a picture, with one and with two, the tower trained too."""
    folder = tmp_path_factory.mktemp("runs")

    def make(name: str, *more: str) -> list[str]:
        return [f"task={FAKES / 'mixed_task.py'}", f"model={model}", "model.dtype=float32",
                "algorithm.num_generations=4", "sampling.max_completion_length=12",
                "train.per_device_train_batch_size=4", "train.max_steps=3", "train.save_steps=1",
                "train.learning_rate=1e-3", "train.adam_epsilon=1e-3",
                "algorithm.importance_sampling=off", "sampling.max_prompt_length=400",
                f"train.output_dir={folder / name}", *more]  # fmt: skip

    return make


@pytest.fixture(scope="module")
def plain(settings: Settings, attached: tuple[str, ...]) -> tuple[Path, Groups]:
    """A run that is attached to the server, and the rollouts of its steps."""
    recorded: Groups = []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKES))
        patch.setattr(Rollouts, "sample", recording(recorded))
        folder = train.train(config.load(None, settings("plain", *attached)))
    return folder, recorded


def recording(recorded: Groups) -> Callable[..., list[Sampled]]:
    """Sample as before, and keep what came."""
    sample = Rollouts.sample

    def watch(self: Rollouts, drawn: Any) -> list[Sampled]:
        sampled = sample(self, drawn)
        recorded.append([each.rollouts for each in sampled])
        return sampled

    return watch


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def distance(first: Path, second: Path) -> float:
    a, b = weights(first), weights(second)
    return sum(float((a[name] - b[name]).square().sum()) for name in a) ** 0.5


@pytest.fixture
def on_a_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Run], None]], None]:
    """Do something before each step of a run."""
    step = loop.step

    def before(action: Callable[[Run], None]) -> None:
        def watched(made: Run) -> Any:
            action(made)
            return step(made)

        monkeypatch.setattr(loop, "step", watched)

    return before


def session_of(made: Run) -> int:
    engine = made.rollouts.engine
    assert isinstance(engine, VllmEngine) and engine.server is not None
    return engine.server.process.pid


def test_killed_servers_are_started_again_and_the_last_ends_the_run_which_goes_on(
    settings: Settings,
    on_a_step: Callable[[Callable[[Run], None]], None],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Killed before the second step and the third, with one restart: the third needs a resume.

    It goes on with another server, which is started when those of the run have ended.
    """
    sessions: list[int] = []

    def kill(made: Run) -> None:
        if made.progress.step >= 1:
            sessions.append(session_of(made))
            (core,) = processes.named(sessions[-1], "EngineCore")
            os.kill(core, signal.SIGKILL)

    on_a_step(kill)
    given = settings("killed", *STARTED, "rollout.vllm.restarts=1")
    folder = Path(config.load(None, given).train.output_dir)
    assert cli.main(["train", *given]) == 2
    said = capsys.readouterr().err.splitlines()
    assert sum("starting it again (0 restarts left)" in line for line in said) == 1
    assert said[-1].startswith("vrft: error: step 3: rollout.engine=vllm: the server failed")
    assert len(sessions) == 2 and not any(map(processes.of_session, sessions))
    assert checkpoint.latest(folder) == folder / "checkpoint-2"
    assert read_metrics(folder / "metrics.jsonl")[1]["rollout/restarts"] == 1
    on_a_step(lambda made: None)
    attached = request.getfixturevalue("attached")
    assert cli.main(["train", "--resume", str(folder), *attached]) == 0
    start = Path(config.load(None, given).model.name)
    apart = distance(folder / "final", request.getfixturevalue("plain")[0] / "final")
    assert apart < 1e-4 * distance(start, folder / "final")


def test_three_steps_are_those_of_our_own_engine_given_the_same_tokens(
    plain: tuple[Path, Groups], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recorded = plain
    assert [len(groups) for groups in recorded] == [4, 4, 4]
    assert all(len(group) == 4 for groups in recorded for group in groups)

    def replay(config: Any, actor: Any, accelerator: Any, folder: Path, step: int) -> Rollouts:
        return Rollouts(Recorded(actor, recorded), config, accelerator, step)

    monkeypatch.setattr(rollouts, "start", replay)
    own = settings("own")
    own_folder = train.train(config.load(None, own))
    start = Path(config.load(None, own).model.name)
    moved = distance(start, folder / "final")
    assert moved > 0.1
    assert distance(folder / "final", own_folder / "final") == 0
    rows, own_rows = (read_metrics(run / "metrics.jsonl") for run in (folder, own_folder))
    for row, own_row in zip(rows, own_rows, strict=True):
        assert row["rollout/logp_difference/max"] < 1e-4
        assert (row["reward"], row["loss"]) == (own_row["reward"], own_row["loss"])
        # Random weights give tokens that are never sampled some hundredths of the probability,
        # which the loss's log-probabilities count and the server's do not: nothing else is apart.
        assert 1e-3 < row[BAN] == pytest.approx(row[DIFFERENCE], abs=1e-4)
    assert [row["rollout/sync_time"] > 0 for row in rows] == [False, True, True]


ZERO3 = pytest.param(
    "zero3", marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")
)


@pytest.mark.parametrize("engine", ["torchrun", "fsdp2", ZERO3])
def test_two_processes_beside_a_server_make_the_update_of_one(
    engine: str, plain: tuple[Path, Groups], settings: Settings, attached: tuple[str, ...]
) -> None:
    given = settings(engine, *attached, "train.per_device_train_batch_size=2")
    done = launch(engine, given, seconds=900)
    assert done.returncode == 0, done.stderr
    made = config.load(None, given)
    folder, start = Path(made.train.output_dir), Path(made.model.name)
    moved = distance(start, plain[0] / "final")
    assert distance(folder / "final", plain[0] / "final") < 1e-4 * moved
    rows, own_rows = (read_metrics(run / "metrics.jsonl") for run in (folder, plain[0]))
    names = ("reward", "loss", "num_tokens", BAN)
    for row, own_row in zip(rows, own_rows, strict=True):
        assert row["rollout/logp_difference/max"] < 1e-4
        expected = [own_row[name] for name in names]
        assert [row[name] for name in names] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_server_samples_ahead_and_its_rollouts_survive_a_resume(
    settings: Settings, attached: tuple[str, ...], tmp_path: Path
) -> None:
    given = (*attached, "rollout.ahead=1", "algorithm.importance_sampling=token_truncate",
             "train.learning_rate=1e-2")  # fmt: skip
    folder = train.train(config.load(None, settings("ahead", *given)))
    rows = read_metrics(folder / "metrics.jsonl")
    assert rows[0][DIFFERENCE] == pytest.approx(rows[0][BAN], abs=1e-4)
    assert all(row[DIFFERENCE] > 2 * row[BAN] for row in rows[1:])  # one update apart
    assert all(row["rollout/logp_difference/max"] < 1e-4 for row in rows)
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    for later in ("checkpoint-3", "final"):
        shutil.rmtree(half / later)
    again = config.load(str(half / "config.yaml"), [f"train.output_dir={half}"])
    train.train(again, resume=half)
    assert distance(half / "final", folder / "final") == 0


def test_a_run_that_is_killed_with_its_server_goes_on_bit_for_bit(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three runs, each of which starts a server: completions with the server's log-probabilities,
    weights and metrics are the same."""
    given = settings("verified", *STARTED)
    own = ("train.max_steps", "train.save_steps", "train.output_dir")
    given = [word for word in given if not word.startswith(own)]
    argv = ["verify-resume", *given, "--output-dir", str(tmp_path / "out")]
    assert cli.main(argv) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert out.startswith("identical: 4 steps in one go, and 2 steps + SIGKILL in step 4")
    assert re.search(r"^completions +4 .*rows without gaps", out, re.MULTILINE)
