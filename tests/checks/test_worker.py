"""The worker that computes rewards: it never runs the user's script, and it may die in any way."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.folders import RECORDS
from fakes.naming import Naming

from vrft import registry
from vrft.checks import worker
from vrft.checks.worker import WorkerError, rewards_elsewhere
from vrft.config.schema import TaskConfig
from vrft.types import Completion, Sample

GOLD = Completion("<think>look</think><answer>red</answer>")
SAMPLE = Sample("a", "Which colour?", "red")


def test_rewards_are_those_of_this_process() -> None:
    assert rewards_elsewhere(Naming(), SAMPLE, GOLD) == {"right": 1.0, "format": 1.0}
    assert rewards_elsewhere(Naming(), SAMPLE, Completion("blue")) == {"right": 0.0, "format": 0.0}


UNGUARDED = """
from pathlib import Path

with Path("runs.txt").open("a") as file:
    file.write("run\\n")

from vrft import registry
from vrft.checks.check import check
from vrft.config.schema import TaskConfig

task = registry.build(TaskConfig("lisa_grounding", {{"data_dir": {data!r}}}))
print("\\n".join(check(task, ("train",)).lines()))
"""


def test_a_script_without_a_guard_that_calls_check_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(data=str(RECORDS / "reasonseg")))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (tmp_path / "runs.txt").read_text() == "run\n"
    assert done.stdout.splitlines()[-1] == "ready to train", done.stdout


TASK_FILE = '''
"""A task in a file of its own, which only sys.path leads to."""

from dataclasses import dataclass
from vrft import Prompt, Sample, Score, Task


@dataclass(frozen=True)
class Hello(Task[str]):
    primary = "right"
    data = "nothing"

    def samples(self, split):
        return [Sample("a", "Say hello", "hello")]

    def prompt(self, sample):
        return Prompt(sample.question)

    def reference(self, sample, views):
        return sample.answer

    def rewards(self):
        return {"right": right}

    def score(self, sample, completion):
        return Score({"right": right(sample, completion)}, completion.text or None)


def right(sample, completion):
    print("a reward that prints")
    return float(completion.text == sample.answer)
'''


def test_a_task_file_is_imported_in_the_worker_and_may_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hello_task.py").write_text(TASK_FILE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    task = registry.build(TaskConfig(str(tmp_path / "hello_task.py"), {}))
    (sample,) = task.samples("train")
    assert rewards_elsewhere(task, sample, Completion("hello")) == {"right": 1.0}


IN_SCRIPT = """
from dataclasses import dataclass
from vrft.checks.worker import WorkerError, rewards_elsewhere
from vrft.types import Completion, Sample
from fakes.naming import Naming

@dataclass(frozen=True)
class Mine(Naming):
    pass

try:
    rewards_elsewhere(Mine(), Sample("a", "?", "red"), Completion("red"))
except WorkerError as error:
    print(error)
"""


def test_a_task_defined_in_the_script_itself_is_told_where_to_go(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(IN_SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment
    )
    assert "'Mine'" in done.stdout
    assert done.stdout.endswith("in a module or task file, and not in the script that is run\n")


@dataclass(frozen=True)
class Failing(Naming):
    """A task whose rewards fail in every process but that of ``home``, each in its way."""

    way: str = ""
    home: int = 0

    def right(self, sample: Sample[str], completion: Completion) -> float:
        if os.getpid() != self.home:
            if self.way == "killed":
                os.kill(os.getpid(), 9)
            if self.way == "error":
                raise LookupError("no such colour here")
            if self.way == "silent":
                os._exit(0)
            if self.way == "status":
                os._exit(7)
            while True:
                pass
        return 1.0


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("killed", "^it was killed by SIGKILL$"),
        ("error", r"^LookupError: no such colour here \(in reward 'right', sample '\w+'\)$"),
        ("status", "^it ended with exit status 7$"),
        ("silent", "^it ended with exit status 0$"),  # without an answer
    ],
)
def test_a_worker_that_dies_says_why(way: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        rewards_elsewhere(Failing(way=way, home=os.getpid()), SAMPLE, GOLD)


def test_a_reward_without_end_is_ended() -> None:
    with pytest.raises(WorkerError, match=r"^no rewards within 3 seconds$"):
        rewards_elsewhere(Failing(way="endless", home=os.getpid()), SAMPLE, GOLD, seconds=3)


@pytest.mark.parametrize(
    ("status", "complaint", "reason"),
    [
        (-15, "whatever", "it was killed by SIGTERM"),
        (1, "Traceback\n  line\nValueError: no\n\n", "ValueError: no"),  # the last line that is one
        (1, "", "it ended with exit status 1"),
        (1, " \n", "it ended with exit status 1"),
    ],
)
def test_the_cause_is_one_line(status: int, complaint: str, reason: str) -> None:
    assert worker.cause(status, complaint) == reason
