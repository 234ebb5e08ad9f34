"""Rollouts of a served engine: when it has which weights, what is off-policy, how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.bigram import (
    CONFIG,
    END,
    LETTERS,
    Bigram,
    BigramPolicy,
    Echo,
    run,
    take_step,
    with_algorithm,
    with_train,
)
from fakes.folders import FAKES
from fakes.served import Served
from safetensors.torch import load_file

from vrft import cli, config, policy
from vrft.config.methods import AlgorithmConfig
from vrft.config.rollout import RolloutConfig
from vrft.config.schema import Config
from vrft.engines import engines
from vrft.errors import UserError
from vrft.objectives.objective import loss
from vrft.objectives.types import Batch, Experience, RewardedGroup
from vrft.rollouts import rollout_rows
from vrft.rollouts.rollout_rows import Drawn
from vrft.rollouts.rollouts import Rollouts
from vrft.runs.run_log import read_metrics
from vrft.training import checkpoint, loop, plan, train
from vrft.training.run import Run
from vrft.training.stream import sample_at
from vrft.types import Completion, Group, Prompt, Rollout, Sample

AHEAD = replace(CONFIG, rollout=RolloutConfig("vllm", ahead=1))
DIFFERENCE = "sampling/sampling_logp_difference/max"


def served(settings: Config, task: Echo | None = None) -> tuple[Run, Served]:
    """A run of the bigram whose rollouts a server samples, and that server."""
    made = run(settings, task)
    engine = Served(made.policy, BigramPolicy())
    own = Rollouts(engine, settings, made.accelerator)
    return replace(made, rollouts=own), engine


def table(made: Run) -> torch.Tensor:
    return next(made.policy.module.parameters()).detach().clone()


# --- on-policy: one exchange of weights between two steps


def test_the_weights_are_sent_once_after_each_step() -> None:
    made, engine = served(CONFIG)
    tables = []
    for _ in range(3):
        tables.append(table(made))
        take_step(made)
    samples = [f"sample 6 x 4 by {version}" for version in range(3)]
    assert engine.events == [samples[0], "sync 1", samples[1], "sync 2", samples[2]]
    assert all(
        torch.equal(given["table"], t) for given, t in zip(engine.given, tables, strict=True)
    )
    assert not torch.equal(tables[1], tables[2])


def test_a_server_with_the_policys_weights_gives_the_update_of_our_own_decoding() -> None:
    own, (made, _) = run(CONFIG), served(CONFIG)
    off, _ = served(with_algorithm(CONFIG, importance_sampling="off"))
    for _ in range(3):
        for each in (own, made, off):
            metrics, _ = take_step(each)
            assert metrics.get(DIFFERENCE, 0.0) < 1e-6
    assert torch.allclose(table(own), table(made), atol=1e-6)
    assert torch.equal(table(own), table(off))
    assert table(own).abs().max() > 0.05


def test_our_own_decoding_gathers_no_weights_and_logs_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = run(CONFIG)
    monkeypatch.setattr(made.accelerator, "get_state_dict", None)
    for _ in range(2):
        metrics, _ = take_step(made)
        assert not [name for name in metrics if name.startswith(("rollout/", "sampling/"))]


def test_a_served_step_logs_its_times_and_the_engines_distance() -> None:
    made, engine = served(CONFIG)
    first, _ = take_step(made)
    assert first["rollout/sync_time"] == 0  # the server was started with these weights
    engine.differences = torch.tensor([0.0, 0.25, 0.5])
    engine.ban_differences = torch.tensor([0.0, 0.0, 0.125, 0.375])
    second, _ = take_step(made)
    assert second["rollout/sync_time"] > 0 and second["rollout/time"] > 0
    assert second["rollout/logp_difference/mean"] == 0.25
    assert second["rollout/logp_difference/max"] == 0.5
    assert second["rollout/ban_difference/mean"] == 0.125
    assert second["rollout/ban_difference/max"] == 0.375
    assert second["rollout/restarts"] == 0
    engine.differences = torch.zeros(0)
    third, _ = take_step(made)
    assert third["rollout/logp_difference/max"] == 0


def test_greedy_baselines_are_sampled_by_the_server() -> None:
    settings = with_algorithm(CONFIG, baseline="greedy", f_norm="none")
    made, engine = served(settings)
    own = run(settings)
    assert take_step(made)[0]["loss"] == pytest.approx(take_step(own)[0]["loss"], abs=1e-6)
    assert engine.events == ["sample 6 x 4 by 0", "sample 6 x 1 by 0"]
    assert torch.allclose(table(made), table(own), atol=1e-6)


def test_rounds_of_resampling_need_no_further_weights() -> None:
    made, engine = served(with_algorithm(CONFIG, min_informative=1.0))
    own = run(made.config)
    for _ in range(4):
        metrics, _ = take_step(made)
        expected, _ = take_step(own)
        assert metrics["resample_rounds"] == expected["resample_rounds"]
    assert sum(event.startswith("sync") for event in engine.events) == 3
    assert torch.allclose(table(made), table(own), atol=1e-5)


# --- ahead: rollouts that are one update old


def test_rollouts_ahead_are_those_of_the_weights_one_step_before() -> None:
    made, engine = served(AHEAD)
    tables, batches = [], []
    for _ in range(4):
        tables.append(table(made))
        metrics, rows = take_step(made)
        batches.append((metrics, rows))
    made.rollouts.rows()  # waits for the rollouts under way
    made.close()
    events = [event for event in engine.events if not event.startswith("sample 4 x 1")]
    assert events[:2] == ["sample 6 x 4 by 0", "sample 6 x 4 by 0"]
    assert events[2:] == ["sync 1", "sample 6 x 4 by 1", "sync 2", "sample 6 x 4 by 2", "sync 3",
                          "sample 6 x 4 by 3", *["close"] * 2]  # fmt: skip
    assert batches[0][0][DIFFERENCE] < 1e-6
    assert all(metrics[DIFFERENCE] > 0.01 for metrics, _ in batches[1:])
    assert all(torch.equal(engine.given[n]["table"], tables[n]) for n in range(4))


def test_the_distance_is_compared_before_a_server_samples_ahead() -> None:
    """By four prompts, while the policy and the server have the same weights."""
    made, engine = served(AHEAD)
    for _ in range(3):
        take_step(made)
    made.close()
    assert [event for event in engine.events if event.startswith("sample 4 x 1")] == [
        "sample 4 x 1 by 1",
        "sample 4 x 1 by 2",
    ]
    assert engine.events.index("sample 4 x 1 by 1") == engine.events.index("sync 1") + 1


def test_the_stream_is_the_same_ahead_and_the_last_step_leaves_nothing_behind() -> None:
    settings = with_algorithm(with_train(AHEAD, max_steps=4), min_informative=0.9)
    made, _ = served(settings)
    drawn: list[str] = []
    announce = made.rollouts.sample

    def watch(prompts: Sequence[Drawn]) -> Any:
        drawn.extend(draw.sample.id for draw in prompts)
        return announce(prompts)

    object.__setattr__(made.rollouts, "sample", watch)
    rounds = [take_step(made)[0]["resample_rounds"] for _ in range(4)]
    assert max(rounds) > 1
    assert made.progress.cursor == 6 * sum(rounds) == len(drawn)
    assert drawn == [sample_at(made, place).id for place in range(len(drawn))]
    assert made.rollouts.in_flight is None


def reward_of(text: str) -> float:
    return text.count("a") + 0.5 * ("b" in text)


def exact_gradient(current: torch.Tensor) -> torch.Tensor:
    """The gradient of minus the expected reward of answers to "a" of up to two tokens."""
    fresh = Bigram()
    fresh.table.data.copy_(current)
    answers = all_answers()
    logps = fresh([0], [[list(tokens) for tokens in answers]])[0].sum(-1)
    rewards = torch.tensor([reward_of(text_of(tokens)) for tokens in answers])
    (-(logps.exp() * rewards).sum()).backward()
    assert fresh.table.grad is not None
    return fresh.table.grad


def all_answers() -> list[tuple[int, ...]]:
    """Every answer of at most two tokens: the end at once, or a letter and any token."""
    return [(END,), *product(range(len(LETTERS)), range(END + 1))]


def text_of(tokens: tuple[int, ...]) -> str:
    return "".join(LETTERS[token] for token in tokens if token != END)


@pytest.mark.parametrize(
    ("mode", "exact"),
    [("sequence_truncate", True), ("sequence_mask", True), ("off", False)],
)
def test_weighted_rollouts_of_an_old_policy_have_the_new_ones_gradient(
    mode: str, exact: bool
) -> None:
    """Exactly: a sum over all answers, each as often as the old policy gives it."""
    old, generator = BigramPolicy(), torch.Generator().manual_seed(1)
    shape = next(old.module.parameters()).shape
    old.module.table.data = torch.randn(shape, generator=generator)  # type: ignore[union-attr]
    new = BigramPolicy()
    new.module.table.data = torch.randn(shape, generator=generator)  # type: ignore[union-attr]
    algorithm = AlgorithmConfig(importance_sampling=mode, importance_sampling_cap=1e9)  # type: ignore[arg-type]
    made = run(replace(CONFIG, algorithm=algorithm), policy=new)
    answers = all_answers()
    plain = [Rollout(Completion(text_of(tokens)), tokens, tokens[-1] == END) for tokens in answers]
    with torch.no_grad():
        logps = old.logps([0], [plain], 1.0)[0]
    sampled = tuple(
        replace(rollout, logprobs=tuple(row[: len(rollout.tokens)].tolist()))
        for rollout, row in zip(plain, logps, strict=True)
    )
    sample = Sample("s", "a", "a")
    group = RewardedGroup(Group(sample, Prompt("a"), sampled), 0, {}, torch.zeros(43), True)
    rewards = torch.tensor([reward_of(text_of(tokens)) for tokens in answers])
    often = logps.sum(-1).exp()
    assert float(often.sum()) == pytest.approx(1.0)
    experience = Experience((rewards * often)[None, :, None], torch.tensor([True]))
    value, _ = loss(made, Batch.of([group]), experience, [0], torch.ones(1, 43))
    value.backward()
    gradient = new.module.table.grad  # type: ignore[union-attr]
    expected = exact_gradient(
        new.module.table.detach(),  # type: ignore[union-attr]
    )
    assert float(expected.norm()) > 0.1
    assert (float((gradient - expected).norm()) < 1e-5) is exact  # type: ignore[operator]


def test_learning_ahead_learns() -> None:
    made, _ = served(with_train(AHEAD, max_steps=60))
    rewards = [take_step(made)[0]["reward"] for _ in range(60)]
    made.close()
    assert rewards[0] < 0.35 and sum(rewards[-5:]) / 5 > 0.9


# --- whole runs of a model


Engines = list[Served]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engines]:
    """Servers in memory take the place of vLLM's; those that runs have started."""
    made: Engines = []
    before = {*threading.enumerate()}  # those of runs of a test before, until they are collected
    plain = engines.start

    def start(settings: Config, actor: Any, folder: Path, weights: Any = None) -> engines.Engine:
        if settings.rollout.engine == "vrft":
            return plain(settings, actor, folder)
        made.append(Served(actor, policy.load(settings.model, device="cpu")))
        return made[-1]

    monkeypatch.setattr(engines, "check", lambda settings: None)
    monkeypatch.setattr(engines, "start", start)
    yield made
    assert made and all(engine.closed.is_set() for engine in made)
    left = {*threading.enumerate()} - before
    assert not [thread.name for thread in left if thread.name.startswith("rollouts")]


Settings = Callable[..., Config]


@pytest.fixture
def settings(model_folder: Callable[[str], Path], tmp_path: Path) -> Settings:
    """The settings of four short steps on letters, a checkpoint after each second."""

    def make(name: str, *more: str) -> Config:
        given = [f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}",
                 "algorithm.num_generations=3", "sampling.max_completion_length=5",
                 "train.per_device_train_batch_size=2", "train.max_steps=4", "train.save_steps=2",
                 "train.learning_rate=1e-3", "model.dtype=float32", "rollout.engine=vllm",
                 "rollout.vllm.python=none", f"train.output_dir={tmp_path / name}"]  # fmt: skip
        return config.load(None, [*given, *more])

    return make


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "final" / "model.safetensors")


def without_times(folder: Path) -> list[dict[str, float]]:
    apart = ("time", "step_time", "rollout/time", "rollout/sync_time")
    rows = read_metrics(folder / "metrics.jsonl")
    return [
        {k: v for k, v in row.items() if k not in apart and "/seconds_" not in k} for row in rows
    ]


@pytest.mark.parametrize("name", ["gpg", "ppo", "grpo"])
def test_a_served_run_makes_the_updates_of_our_own(
    name: str, started: Engines, settings: Settings
) -> None:
    algorithm = (f"algorithm={name}", "algorithm.importance_sampling=off", "train.max_steps=2",
                 "train.save_steps=0", "algorithm.num_generations=3")  # fmt: skip
    own = train.train(settings("own", *algorithm, "rollout.engine=vrft", "rollout.vllm.python=''"))
    assert started == []
    made = train.train(settings("served", *algorithm))
    a, b = weights(own), weights(made)
    assert all(a[key].equal(b[key]) for key in a)
    assert started[0].events[-1] == "close" and started[0].version == 1


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(
    ahead: int, started: Engines, settings: Settings, tmp_path: Path
) -> None:
    """Ahead, with the rollouts that the server had made before the run stopped."""
    whole = train.train(settings("whole", f"rollout.ahead={ahead}", "train.eval_steps=2",
                                 "eval.split=val", "eval.limit=2"))  # fmt: skip
    assert (whole / "checkpoint-2" / rollout_rows.ROLLOUTS).is_file() == bool(ahead)
    assert not (whole / "checkpoint-4" / rollout_rows.ROLLOUTS).exists()
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for later in ("checkpoint-4", "final"):
        shutil.rmtree(half / later)
    again = config.load(str(half / "config.yaml"), [f"train.output_dir={half}"])
    train.train(again, resume=half)
    first, second = weights(whole), weights(half)
    assert all(first[name].equal(second[name]) for name in first)
    assert without_times(whole) == without_times(half)
    assert started[1].version == 1  # between steps 3 and 4


def test_a_checkpoint_whose_rollouts_ahead_have_failed_is_good_and_they_are_sampled_anew(
    started: Engines, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings("run", "rollout.ahead=1")

    def fail(engine: Served) -> None:
        if engine.events[-1] == "sample 2 x 3 by 1":  # begun in the second step, for the third
            raise UserError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Served, "take_over", failing(fail))
        with pytest.raises(UserError, match=r"^step 3: out of memory"):
            train.train(made)
    run = Path(made.train.output_dir)
    assert not (run / "checkpoint-2" / rollout_rows.ROLLOUTS).exists()
    train.train(config.load(str(run / "config.yaml")), resume=run)
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    # Old rollouts, and new ones where there was no older policy to sample them.
    assert rows[2][DIFFERENCE] < 1e-5 < min(rows[1][DIFFERENCE], rows[3][DIFFERENCE])


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_failing_server_ends_the_run_with_its_line_and_a_good_checkpoint(
    ahead: int, started: Engines, settings: Settings, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    made = settings("run", f"rollout.ahead={ahead}")

    def fail(engine: Served) -> None:
        # the third step's with, and the fourth's without sampling ahead
        if engine.version == 3 - ahead:
            raise UserError("rollout.engine=vllm: the server failed; its last words: out of memory")

    monkeypatch.setattr(Served, "take_over", failing(fail))
    (tmp_path / "run.yaml").write_text(config.to_yaml(made))
    assert cli.main(["train", "--config", str(tmp_path / "run.yaml")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "its last words: out of memory" in line and line.startswith("vrft: error: step 4: ")
    run = Path(made.train.output_dir)
    assert checkpoint.latest(run) == run / "checkpoint-2"
    assert not (run / "final").exists()
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == [1, 2, 3]


def failing(fail: Callable[[Served], None]) -> Callable[[Served], None]:
    """Take over weights as before, and fail as told."""
    plain = Served.take_over

    def take_over(engine: Served) -> None:
        engine.failure = fail
        plain(engine)

    return take_over


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, UserError, ZeroDivisionError])
def test_the_server_is_closed_whatever_ends_the_run(
    error: type[BaseException], ahead: int, started: Engines, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Ahead, while the server is answering."""
    plain = loop.step

    def stop(made: Run) -> Any:
        if made.progress.step == 1:
            raise error("stop")
        result = plain(made)
        if ahead:
            started[0].gate.clear()  # the next answer does not come by itself
            take_over_again(made)
        return result

    def take_over_again(made: Run) -> None:
        made.rollouts.begin(made.rollouts.in_flight.drawn)  # type: ignore[union-attr]

    monkeypatch.setattr(loop, "step", stop)
    with pytest.raises(error):
        train.train(settings("run", f"rollout.ahead={ahead}"))
    assert started[0].closed.is_set()


@pytest.mark.parametrize("place", ["claim", "RunLog"])
def test_the_server_is_closed_where_the_run_does_not_begin(
    place: str, started: Engines, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise UserError("no room")

    monkeypatch.setattr(train.own_folder if place == "claim" else train, place, refuse)
    with pytest.raises(UserError, match="no room"):
        train.train(settings("run"))
    assert started[0].events == ["close"]


def test_a_signal_stops_a_run_with_rollouts_under_way_after_a_checkpoint(
    started: Engines, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loop.step

    def stop(made: Run) -> Any:
        result = plain(made)
        signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(loop, "step", stop)
    made = settings("run", "rollout.ahead=1")
    with pytest.raises(SystemExit) as caught:
        train.train(made)
    assert caught.value.code == 128 + signal.SIGTERM
    rows = json.loads((Path(made.train.output_dir) / "checkpoint-1/rollouts.json").read_text())
    assert len(rows) == 2 and all(len(row["rollouts"]) == 3 for row in rows)


def test_nothing_is_started_for_a_run_that_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "start", None)
    for wrong in ("sampling.top_k=5", "algorithm.num_generations=1", "rollout.vllm.url=http://a:1"):
        with pytest.raises(UserError):
            plan.check(settings("run", wrong))
        with pytest.raises(UserError):
            train.train(settings("run", wrong))
