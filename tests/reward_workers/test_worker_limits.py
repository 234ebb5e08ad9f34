"""Rewards that do their worst: each costs its own value at most, is named, and is killed.

Whatever a reward starts is bounded by its stand-in, by the limits of its worker, and ends with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import hostile_rewards
from fakes.naming import Naming

from vrft.errors import UserError
from vrft.reward_workers.isolation import TaskInWorkers, WorkerReward
from vrft.reward_workers.reward_worker import RewardError, RewardWorker
from vrft.reward_workers.worker_process import WORD, Limits
from vrft.rewards import GroupRewards, TrainerState, group_rewards, with_rewards
from vrft.rewards.function_reward import FileFunction, FunctionReward
from vrft.system.linux_processes import with_word
from vrft.types import Completion, Group, Prompt, Rollout, Sample

pytestmark = pytest.mark.faults

SAMPLE = Sample("s1", "Which?", "red")
MIB = 2**20
LIMITS = Limits(
    seconds=60.0, start=60.0, memory=600 * MIB, printed=16 * MIB, processes=20, file=MIB
)
SHORT = replace(LIMITS, seconds=3.0)
"""Limits of rewards that take all the time they are given."""


@pytest.fixture
def workers() -> Iterator[list[RewardWorker]]:
    """Return a list of workers, which are ended when the test is."""
    made: list[RewardWorker] = []
    yield made
    for worker in made:
        if worker.process is not None:
            worker.process.ended()


def task_with(name: str, workers: list[RewardWorker], limits: Limits = LIMITS) -> Any:
    """Return a task with a hostile reward in a worker that has started and answered once."""
    reward: Any = FunctionReward(FileFunction(hostile_rewards.__name__, name), name)
    # Of another package than OWN, the stand-in's own rewards would have a worker too.
    worker = RewardWorker("hostile", [hostile_rewards.__name__], None, limits, max_missing=2)
    mine = {name: WorkerReward(name, reward, worker)}
    task = TaskInWorkers(with_rewards(Naming(), {name: reward}), mine, [worker])
    workers.append(worker)
    assert ask(task, "ok").values[name] is not None
    return task


def ask(task: Any, *texts: str) -> GroupRewards:
    rollouts = tuple(Rollout(Completion(text), (1,), True) for text in texts)
    return group_rewards(task, Group(SAMPLE, Prompt("?"), rollouts), TrainerState())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hangs", "it took longer than 3 seconds (train.reward_timeout)"),
        ("hangs_in_c", "it took longer than 3 seconds (train.reward_timeout)"),
        ("ignores_signals", "it took longer than 3 seconds (train.reward_timeout)"),
        ("stops_itself", "it took longer than 3 seconds (train.reward_timeout)"),
        ("segfaults", "its process was killed by SIGSEGV"),
        ("exits", "its process ended with exit status 0"),
        ("leaves", "its process ended with exit status 3"),
        ("prints", "it printed more than 16,777,216 bytes in one call"),
        ("grows", "it had not enough memory (MemoryError; train.reward_memory)"),
        ("forks", "it started more than 20 processes"),
        ("closes_everything", "it"),  # its pipes are gone, in whatever way that ends
        ("writes_into_every_pipe", "it wrote what is no answer into the pipe of answers"),
    ],
)
def test_a_reward_that_gives_no_answer_is_missing_and_its_worker_replaced(
    name: str, reason: str, workers: list[RewardWorker], capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_with(name, workers, SHORT if "longer" in reason else LIMITS)
    given = ask(task, "bad", "good")
    assert given.values[name] == [None, None]
    assert given.lost[name].startswith(f"reward '{name}': no value, as {reason}")
    assert given.log.metrics[f"rewards/{name}/missing"] == [1.0]
    assert given.notes == [given.lost[name]]
    # The task's own rewards are there, and the next group has all.
    assert given.values["format"] == [0.0, 0.0]
    again = ask(task, "good", "well done")
    assert again.values[name] == [4.0, 9.0]
    assert again.log.metrics[f"rewards/{name}/missing"] == [0.0]
    assert capsys.readouterr() == ("", "")


def test_memory_of_children_counts_with_the_workers(workers: list[RewardWorker]) -> None:
    limits = Limits(seconds=20.0, memory=250 * MIB, processes=20)
    task = task_with("grows_together", workers, limits)
    given = ask(task, "bad", "good")
    assert "it took more than 0.244141 GiB of memory" in given.lost["grows_together"]


@pytest.mark.parametrize("name", ["closes_its_streams", "writes_rubbish", "comes_back_twice"])
def test_a_reward_that_harms_nobody_keeps_its_values(
    name: str, workers: list[RewardWorker]
) -> None:
    task = task_with(name, workers)
    for _ in range(2):
        assert ask(task, "bad", "good").values[name] == [3.0, 4.0]
    assert workers[0].starts == 1


@pytest.mark.parametrize("name", ["forks", "leaves_a_daemon", "grows_together"])
def test_nothing_that_a_reward_has_started_outlives_its_worker(
    name: str, workers: list[RewardWorker]
) -> None:
    task = task_with(name, workers, SHORT)
    assert workers[0].process is not None
    environment = Path(f"/proc/{workers[0].process.process.pid}/environ").read_bytes()
    (word,) = re.findall(rf"{WORD}=[0-9a-f]+", environment.decode())
    ask(task, "bad", "good")
    assert with_word(word) == []


def test_a_file_has_its_limit_and_the_error_is_the_rewards_own(workers: list[RewardWorker]) -> None:
    task = task_with("fills_the_disk", workers)
    with pytest.raises(OSError, match="File too large") as caught:
        ask(task, "bad", "good")
    assert "in reward 'fills_the_disk', sample 's1'" in caught.value.__notes__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gives_nan", "reward 'gives_nan', sample 's1': got nan of type float for the answer"),
        ("gives_text", "reward 'gives_text', sample 's1': got '1' of type str for the answer"),
        ("gives_too_many", "reward 'gives_too_many', sample 's1': expected a list of 2 value(s)"),
    ],
)
def test_values_that_are_none_are_refused_as_without_a_worker(
    name: str, message: str, workers: list[RewardWorker]
) -> None:
    task = task_with(name, workers)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        ask(task, "bad", "good")
    with pytest.raises(UserError) as here:
        plain: Any = FunctionReward(getattr(hostile_rewards, name), name)
        ask(with_rewards(Naming(), {name: plain}), "bad", "good")
    assert str(caught.value) == str(here.value)


@pytest.mark.parametrize(("name", "kind"), [("raises", KeyError), ("raises_its_own", RewardError)])
def test_an_exception_names_reward_and_sample_and_shows_where(
    name: str, kind: type[Exception], workers: list[RewardWorker]
) -> None:
    task = task_with(name, workers)
    with pytest.raises(kind) as caught:
        ask(task, "bad", "good")
    assert caught.value.__notes__ == [f"in reward '{name}', sample 's1'"]
    assert f"line {raise_line(name)}, in {name}" in str(caught.value.__cause__)
    # It is no fault of the worker, which goes on.
    assert ask(task, "good").values[name] == [4.0]
    assert workers[0].starts == 1


def raise_line(name: str) -> int:
    """Return the line of the stand-in's file in which a reward raises."""
    lines = Path(hostile_rewards.__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line == f"def {name}() -> None:") + 1


def test_too_many_groups_without_a_value_stop_the_run_by_the_rewards_name(
    workers: list[RewardWorker],
) -> None:
    task = task_with("exits", workers)
    assert ask(task, "bad").notes and not ask(task, "bad").notes  # said once
    assert not ask(task, "good").lost  # in a row: this one is counted from 0 again
    assert ask(task, "bad").lost and ask(task, "bad").lost
    with pytest.raises(UserError, match="reward 'exits' had no value for 3 group") as caught:
        ask(task, "bad")
    assert "train.max_missing_rewards=2" in str(caught.value)
    assert "the last time its process ended with exit status 0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hundred_megabytes_leave_a_log_of_two(
    workers: list[RewardWorker], tmp_path: Path
) -> None:
    task = task_with("prints", workers, Limits(seconds=60.0, printed=0))
    workers[0].output.keep_in(tmp_path / "rewards.log")
    assert ask(task, "bad", "good").values["prints"] == [3.0, 4.0]
    assert workers[0].process is not None and workers[0].output.reader is not None
    workers[0].process.close()
    workers[0].output.reader.join(60)  # what it printed last may still be under way
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"rewards.log", "rewards.former.log"}
    assert 2**20 < sum(sizes.values()) <= 2 * 2**20 + 200
    assert b"bytes before these two files" in (tmp_path / "rewards.log").read_bytes()
