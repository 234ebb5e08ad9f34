"""Rewards in workers give what they give in the run's own process, to the last bit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import trl_rewards
from fakes.naming import Naming
from PIL import Image

from vrft import registry
from vrft.boxes import Box
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.reward_workers.isolation import TaskInWorkers, in_process, isolated, workers_of
from vrft.reward_workers.worker_process import Limits
from vrft.rewards import FunctionReward, TrainerState, group_rewards, with_rewards
from vrft.rewards.function_reward import FileFunction
from vrft.task import Reward
from vrft.types import Completion, Group, Prompt, Rollout, Sample, View

FUNCTIONS = (
    *("everything", "pixels", "prompt_pictures", "later", "drawn", "counted"),
    *("mistaken", "refusing", "texts"),
)


def function(name: str) -> Any:
    return FunctionReward(FileFunction(trl_rewards.__name__, name), name)


def seed_of(step: int) -> int:
    return 1000 + step


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Any]:
    """Return a task all of whose further rewards are computed by one worker."""
    further: Any = {name: function(name) for name in FUNCTIONS}
    sample = Sample("s", "?", "red")
    task = isolated(with_rewards(Naming(), further), sample, Limits(), 0, seed_of)
    yield task
    for worker in workers_of(task):
        worker.close()


def only(task: Any, name: str) -> Any:
    """Return the task with one of its rewards alone."""

    @dataclass(frozen=True)
    class Alone(Naming):
        def rewards(self) -> Mapping[str, Reward[str]]:
            return {name: task.rewards()[name]}

    return Alone()


def group(sample: Sample[Any], prompt: Prompt | None = None) -> Group[Any]:
    views = (View(28, 28),) * len(sample.images)
    rollouts = [Rollout(Completion(t, views), tuple(map(ord, t)), True) for t in ("ab", "\ud800")]
    asked = prompt or Prompt(sample.question, sample.images, system="Count.")
    return Group(sample, asked, tuple(rollouts))


def pictures(folder: Path) -> tuple[Any, ...]:
    """Return a picture in a file and one in memory, which is no RGB."""
    Image.effect_noise((9, 7), 60).convert("RGB").save(folder / "a.png")
    return folder / "a.png", Image.effect_noise((5, 6), 60)


SAMPLES = {
    "columns": {"level": 2, "boxes": [(1, 2.5)], "when": None, "array": np.arange(3)},
    "answer": {"level": 0.1, "answer": "the row's own"},
}


@pytest.mark.parametrize("columns", SAMPLES.values(), ids=list(SAMPLES))
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("name", ["everything", "pixels", "prompt_pictures", "later"])
def test_values_and_logs_are_those_of_this_process(
    name: str, count: int, columns: Any, everywhere: Any, tmp_path: Path
) -> None:
    if name == "pixels" and not count:
        return
    sample = Sample("s1", "Which?", Box(0.1, 0.2, 0.3, 0.4), pictures(tmp_path)[:count], "easy",
                    columns)  # fmt: skip
    if name == "prompt_pictures" and not count:
        return
    state = TrainerState(global_step=7, epoch=1 / 3)
    here = group_rewards(with_rewards(Naming(), {name: function(name)}), group(sample), state)
    there = group_rewards(only(everywhere, name), group(sample), state)
    assert there.values[name] == here.values[name]
    assert [type(value) for value in there.values[name]] == [type(v) for v in here.values[name]]
    missing = there.log.metrics.pop(f"rewards/{name}/missing")
    assert missing == [0.0] and there.log.metrics == here.log.metrics
    assert there.log.columns == here.log.columns


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        ({"prompt": "Which?"}, 1.0),
        ({"prompt": [{"role": "user", "content": "Which?"}]}, 0.0),
        ({"question": "Which?"}, 0.0),
    ],
)
def test_texts_are_given_where_the_rows_prompt_is_one(
    columns: Any, value: float, everywhere: Any
) -> None:
    asked = group(Sample("s1", "Which?", "red", columns=columns))
    assert group_rewards(only(everywhere, "texts"), asked).values["texts"] == [value, value]


def test_random_numbers_are_seeded_at_each_step_as_the_run_seeds_its_own(everywhere: Any) -> None:
    sample, task = Sample("s", "?", "red"), only(everywhere, "drawn")

    def draw(step: int) -> list[float | None]:
        return group_rewards(task, group(sample), TrainerState(global_step=step)).values["drawn"]

    task.rewards()["drawn"](sample, Completion("a trial draws as well"))
    given = [draw(0), draw(0), draw(1)]
    expected = []
    for step, calls in ((0, 2), (1, 1)):
        random.seed(seed_of(step))
        np.random.seed(seed_of(step))
        expected += [[random.random() + np.random.rand() for _ in range(2)] for _ in range(calls)]
    assert given == expected


def test_globals_of_the_module_live_as_long_as_the_worker(everywhere: Any) -> None:
    sample, task = Sample("s", "?", "red"), only(everywhere, "counted")
    values = [group_rewards(task, group(sample)).values["counted"][0] for _ in range(3)]
    assert values == [1.0, 2.0, 3.0]
    assert trl_rewards.calls == 0


@pytest.mark.parametrize("name", ["mistaken", "refusing"])
def test_mistakes_have_the_same_line(name: str, everywhere: Any) -> None:
    sample = Sample("s", "?", "red")
    lines = []
    for task in (with_rewards(Naming(), {name: function(name)}), only(everywhere, name)):
        with pytest.raises(UserError) as caught:
            group_rewards(task, group(sample))
        lines.append(str(caught.value))
    assert lines[0] == lines[1] and lines[0].startswith(f"reward '{name}', sample 's': ")


def test_a_column_that_the_row_lacks_is_refused_before_the_worker_is_asked(
    everywhere: Any,
) -> None:
    reward = everywhere.rewards()["everything"]
    with pytest.raises(UserError, match="'everything' needs the column 'level', which sample 's'"):
        reward.check(Sample("s", "?", "red"))


def test_a_column_that_cannot_be_sent_is_refused_by_its_type(everywhere: Any) -> None:
    sample = Sample("s", "?", "red", columns={"odd": object()})
    with pytest.raises(UserError, match=r"reward 'counted', sample 's': a value of type object"):
        group_rewards(only(everywhere, "counted"), group(sample))


def test_only_what_a_function_takes_is_sent(everywhere: Any) -> None:
    # `pixels` names no column of the row and no prompt: neither has to travel.
    sample = Sample("s", "?", object(), (Image.new("RGB", (2, 2), "red"),), columns={"o": object()})
    prompt = Prompt("?", (object(),))  # type: ignore[arg-type]
    given = group_rewards(only(everywhere, "pixels"), group(sample, prompt))
    assert given.values["pixels"] == [4 * 255 / 7] * 2


TASK_FILE = '''
from dataclasses import dataclass
from functools import partial
from fakes.naming import Naming
from vrft.rewards import follows_format, from_trl

def scaled(sample, completion, scale):
    return scale * len(completion.text) / 3

def trl(completions, **columns):
    return [float(len(c[0]["content"])) / 3 for c in completions]

@dataclass(frozen=True)
class Mine(Naming):
    """A task of a user's own, with a setting that its rewards read."""

    scale: float = 1.0

    def rewards(self):
        return {
            "format": follows_format,
            "scaled": partial(scaled, scale=self.scale),
            "method": self.method,
            "trl": from_trl(trl),
        }

    def method(self, sample, completion):
        return self.scale * (completion.text == sample.answer)
'''


@pytest.fixture
def task_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    path = tmp_path / f"isolated_{abs(hash(tmp_path.name))}.py"
    path.write_text(TASK_FILE)
    return path


def test_rewards_of_a_task_file_have_one_worker_and_its_settings(task_file: Path) -> None:
    task = registry.build(TaskConfig(str(task_file), {"scale": 0.1}))
    sample = Sample("s", "?", "ab")
    inside = isolated(task, sample, Limits(), 0)
    assert isinstance(inside, TaskInWorkers)
    (worker,) = workers_of(inside)
    here, there = (group_rewards(t, group(sample)) for t in (task, inside))
    assert there.values == here.values and here.values["method"] == [0.1, 0.0]
    # The toolkit's own reward is a pure function, and stays.
    assert set(inside.replaced) == {"scaled", "method", "trl"} and in_process(inside) == []
    assert inside.scale == 0.1  # type: ignore[attr-defined]
    worker.close()
    assert worker.process is not None and not worker.process.alive


def test_tasks_of_the_toolkit_are_themselves() -> None:
    task = registry.build(TaskConfig("vqa", {"data_dir": "rows.jsonl"}))
    assert isolated(task, Sample("s", "?", "red"), Limits(), 0) is task
    assert in_process(task) == []


def test_functions_in_memory_stay_in_this_process_and_are_named() -> None:
    task = registry.build(TaskConfig("vqa", {"data_dir": "rows.jsonl"}))
    both = with_rewards(task, {"mine": FunctionReward(lambda completions: [0.0], "mine")})
    inside = isolated(both, Sample("s", "?", "red"), Limits(), 0)
    assert inside is both and in_process(inside) == ["mine"]


def test_a_reward_stays_here_where_its_sample_cannot_travel() -> None:
    task = registry.build(TaskConfig("vqa", {"data_dir": "rows.jsonl"}))
    both: Any = with_rewards(task, {"counted": function("counted")})
    inside = isolated(both, Sample("s", "?", object()), Limits(), 0)
    assert in_process(inside) == ["counted"]
