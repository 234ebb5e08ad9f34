"""Tasks by name and by file, their settings, and the mistakes that users make with them."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.folders import RECORDS

from vrft import registry
from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.rewards import rewards_of
from vrft.types import Completion

TASK_FILE = '''"""Say yes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vrft.rewards import follows_format
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View


@dataclass(frozen=True)
class Yes(Task[str]):
    times: int = 1
    word: str = "yes"

    primary = "right"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[str]]:
        return [Sample(str(i), f"Say {self.word}.", self.word) for i in range(self.times)]

    def prompt(self, sample: Sample[str]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return f"<think>well</think><answer>{sample.answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"format": follows_format}

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        right = sample.answer in completion.text
        return Score({"right": float(right)}, sample.answer if right else None)
'''


REWARD_FILE = """
import functools

class Judge:
    def __call__(self, completions, **columns):
        return [0.5] * len(completions)

class Strange:
    pass

def right(completions, solution, **columns):
    return [float(s in c[0]["content"]) for c, s in zip(completions, solution)]

async def slow(completions, **columns):
    return [0.25] * len(completions)

def positional(completions, /):
    return [0.0]

def without(text):
    return 0.0

def format(completions):
    return [0.0] * len(completions)

judge = Judge()
brief = lambda completions, **columns: [0.125] * len(completions)
partial = functools.partial(right, unused=1)
number = 3
"""


@pytest.fixture
def task_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a task into a file of its own; import state is restored afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / f"say_yes_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(TASK_FILE)
    return path


@pytest.fixture
def reward_file(task_file: Path) -> Path:
    """Write reward functions into a file beside the task's, under a name of its own."""
    path = task_file.with_name(task_file.name.replace("say_yes", "my_rewards"))
    path.write_text(REWARD_FILE)
    return path


def test_tasks_are_listed_with_one_line_each_without_being_imported() -> None:
    code = (
        "import sys; from vrft import registry; names = registry.names();"
        "assert 'reasoning grounding' in names['lisa_grounding'].lower(), names;"
        "assert not any(m.startswith('vrft_tasks.') for m in sys.modules);"
        "registry.task_class('lisa_grounding');"
        "heavy = {'torch', 'transformers', 'datasets', 'trl'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_task_is_built_with_its_settings_coerced() -> None:
    settings = {"data_dir": str(RECORDS / "reasonseg"), "reward": "legacy"}
    task = registry.build(TaskConfig("lisa_grounding", settings))
    assert type(task) is registry.task_class("lisa_grounding")
    assert vars(task)["data_dir"] == RECORDS / "reasonseg"
    assert set(task.rewards()) == {"legacy", "format"}


def test_a_tilde_is_home_in_the_data_of_any_task(
    tmp_path: Path, task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = task_file.read_text().replace("    times: int", "    data_dir: str\n    times: int")
    task_file.write_text(own)
    task = registry.build(TaskConfig(str(task_file), {"data_dir": "~/rows"}))
    assert task.data_dir == f"{tmp_path}/rows"  # type: ignore[attr-defined]


def test_the_demo_data_stands_behind_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from vrft.demo import data

    monkeypatch.setattr(data, "folder", {"lisa_grounding": RECORDS / "reasonseg"}.__getitem__)
    task = registry.build(TaskConfig("lisa_grounding", {"data_dir": "demo"}))
    assert [sample.id for sample in task.samples("val")] == ["lamp"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        # a slip of the pen: the nearest name
        ("lisa_groundin", {}, "unknown task 'lisa_groundin'; did you mean 'lisa_grounding'?"),
        # nothing near: all names; and no name at all
        ("qqq", {}, "unknown task 'qqq'; known: .*lisa_grounding"),
        ("", {}, "no task: give --task NAME or FILE.py; known: .*lisa_grounding"),
        # the data is not given: what it must be
        ("lisa_grounding", {}, r"needs task\.data_dir \(a ReasonSeg folder .*task\.data_dir=VALUE"),
        # an unknown setting, a value that is none of the choices
        ("vqa", {"data_dir": "x", "max_steps": 1}, "task.max_steps; did you mean train.max_steps?"),
        ("lisa_grounding", {"data_dir": "x", "rewrd": 1}, "task.rewrd; did you mean task.reward"),
        ("lisa_grounding", {"data_dir": "x", "reward": "giou"}, "'giou' is not one of iou, legacy"),
        ("lisa_grounding", {"data_dir": "x", "template": "?"}, r"write \{instruction\} where"),
        # a file that is not there
        ("no/such/task.py", {}, "no task file no/such/task.py"),
    ],
)
def test_a_mistake_is_answered_with_one_line(
    name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        registry.build(TaskConfig(name, settings))
    assert "\n" not in str(raised.value)


def test_a_task_in_one_file_is_found_by_its_path(task_file: Path) -> None:
    task = registry.build(TaskConfig(str(task_file), {"times": "3"}))
    assert [sample.id for sample in task.samples("train")] == ["0", "1", "2"]
    # its folder comes last, so that it hides no installed module
    assert sys.path[-1] == str(task_file.parent)


def test_a_task_in_one_file_can_be_pickled_to_another_process(task_file: Path) -> None:
    task = registry.build(TaskConfig(str(task_file), {"word": "no"}))
    (task_file.parent / "task.pickle").write_bytes(pickle.dumps(task))
    code = "import pickle; print(pickle.load(open('task.pickle', 'rb')).samples('train')[0].answer)"
    environment = {**os.environ, "PYTHONPATH": str(task_file.parent)}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=task_file.parent, env=environment,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert out.stdout == "no\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        # no task at all, though one is imported
        ("from vrft.task import Task\n", "found none"),
        # two tasks
        (TASK_FILE + "\n\n@dataclass(frozen=True)\nclass No(Yes):\n    pass\n", "found No, Yes"),
        # a task that is no dataclass has no settings
        (TASK_FILE.replace("@dataclass(frozen=True)\n", ""), "found Yes"),
    ],
)
def test_a_module_must_define_one_task(content: str, found: str, task_file: Path) -> None:
    task_file.write_text(content)
    with pytest.raises(UserError, match=f"one Task that is a frozen dataclass, {found}"):
        registry.task_class(str(task_file))


@pytest.mark.parametrize("field", ["name", "settings", "boxes", "score", "primary", "data"])
def test_a_setting_may_not_have_the_name_of_a_part_of_every_task(
    field: str, task_file: Path
) -> None:
    lines = TASK_FILE.splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if line.startswith("class "))
    task_file.write_text(
        "".join([*lines[: place + 1], f"    {field}: str = ''\n", *lines[place + 1 :]])
    )
    with pytest.raises(UserError, match=f"the setting '{field}' of .* has the name of a part"):
        registry.task_class(str(task_file))


def test_a_package_of_tasks_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "more_tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "say_yes.py").write_text(TASK_FILE)
    (package / "_private.py").write_text("raise RuntimeError('never imported')")
    metadata = tmp_path / "more_tasks-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: more-tasks\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[vrft.tasks]\nmore = more_tasks\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.names()["say_yes"] == "Say yes."
    assert "_private" not in registry.names()
    assert registry.build(TaskConfig("say_yes", {})).data == "nothing"

    (package / "lisa_grounding.py").write_text(TASK_FILE)
    with pytest.raises(UserError, match=r"two tasks 'lisa_grounding': .*; uninstall one"):
        registry.names()


def rewarded(task_file: Path, *rewards: str):  # type: ignore[no-untyped-def]
    return registry.build_rewarded(TaskConfig(str(task_file)), AlgorithmConfig(rewards=rewards))


def test_reward_functions_of_a_file_join_the_tasks_own(task_file: Path, reward_file: Path) -> None:
    names = ("right", "slow", "judge", "brief", "partial")
    task = rewarded(task_file, *(f"{reward_file}:{name}=2" for name in names))
    (sample,) = task.samples("train")
    expected = {"format": 0.0, "right": 1.0, "slow": 0.25, "judge": 0.5, "brief": 0.125}
    assert rewards_of(task, sample, Completion("yes")) == {**expected, "partial": 1.0}
    # A lambda and an object travel too: by their names.
    again = pickle.loads(pickle.dumps(task))
    assert rewards_of(again, sample, Completion("yes")) == {**expected, "partial": 1.0}
    assert again.word == "yes"  # a setting of the task


def test_without_further_rewards_the_task_is_itself(task_file: Path) -> None:
    assert rewarded(task_file) == registry.build(TaskConfig(str(task_file)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("righ", "no function 'righ'; did you mean 'right'?"),
        ("number", "no function 'number'"),
        ("Strange", "no function 'Strange'"),  # a class is no function
        ("positional", "takes 'completions' by position only"),
        ("without", "does not take `completions`"),
    ],
)
def test_a_function_that_is_no_reward_is_refused(
    name: str, message: str, task_file: Path, reward_file: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        rewarded(task_file, f"{reward_file}:{name}")


def test_reward_files_and_names_are_checked(task_file: Path, reward_file: Path) -> None:
    with pytest.raises(UserError, match=r"no reward file nowhere\.py; give a Python file"):
        rewarded(task_file, "nowhere.py:right")
    with pytest.raises(UserError, match="'right' is given twice"):
        rewarded(task_file, f"{reward_file}:right", f"{reward_file}:right=2")
    with pytest.raises(UserError, match="'format': the task has a reward of that name"):
        rewarded(task_file, f"{reward_file}:format")


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        # a typo in the run's own setting below data, in two short names, and the wrong section
        ("vqa", "on_bad_pictre", "data.on_bad_pictre; did you mean data.on_bad_picture?"),
        ("vqa", "on_bad_picture", "data.on_bad_picture; did you mean data.on_bad_picture?"),
        ("vqa", "fromat", "data.fromat; did you mean data.format?"),
        ("grounding", "boxs", "data.boxs; did you mean data.boxes?"),
        # nearer to a setting of the task itself; a short name that the task does not have
        ("vqa", "sytle", "task.sytle; did you mean task.style?"),
        ("vqa", "box_unti", "unknown setting task.box_unti; known: data_dir"),
    ],
)
def test_an_unknown_setting_of_data_has_the_nearest_of_all(name: str, key: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        registry.build(TaskConfig(name, {"data_dir": "rows.jsonl", key: "skip"}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def samples(", "def sample(", "Yes has no samples; write it"),
        ('primary = "right"', "pass", "Yes has no `primary`; name the metric"),
        ('{"format": follows_format}', "[]", r"rewards\(\) gave \[\]; return functions"),
        (": follows_format}", ": 1}", r"rewards\(\) gave \{'format': 1\}; return functions"),
        ('{"format": follows_format}', "{}", "no reward, so that nothing would be learned"),
    ],
)
def test_a_task_without_a_part_is_one_line(
    old: str, new: str, message: str, task_file: Path
) -> None:
    assert old in TASK_FILE
    task_file.write_text(TASK_FILE.replace(old, new))
    with pytest.raises(UserError, match=message):
        registry.build_rewarded(TaskConfig(str(task_file), {}), AlgorithmConfig())
