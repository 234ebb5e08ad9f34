"""``vrft.train`` and ``vrft.check``: what they take, refuse and return."""

from __future__ import annotations

import doctest
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes.colour_rows import FAST, ROWS, trained

import vrft
from vrft.api import training
from vrft.errors import UserError
from vrft.training import loop
from vrft.training.run import Run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))


def test_the_examples_of_the_docstrings_are_true() -> None:
    result = doctest.testmod(training)
    assert result.attempted > 12 and result.failed == 0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"trian": {"max_steps": 1}}, "unknown setting trian; did you mean train"),
        ({"eval": {"limit": object()}}, "eval.limit: .* is no value of a setting"),
        ({"task": "countig"}, "did you mean 'counting'"),
        ({"model": 3}, "model"),
        # before the value, which no setting takes or which sets nothing, the name
        ({"reward_funcs": print}, "reward functions are reward=FUNCTION"),
        ({"callbacks": [print]}, "unknown setting callbacks; known: task"),
        ({"trian": {}}, "unknown setting trian; did you mean train"),
        ({"train": {"max_stps": {}}}, r"did you mean train\.max_steps"),
        ({"task": 3}, "task: expected a name or a path, got 3"),
        ({"config": {}}, "config: expected a name or a path"),
        ({"resume": True}, "run: expected its folder or vrft.train's result, not bool"),
    ],
)
def test_settings_that_are_wrong_are_refused_as_on_the_command_line(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        vrft.train(ROWS, **settings)


def test_a_task_may_be_named_by_a_path() -> None:
    with pytest.raises(UserError, match=r"mine\.py"):
        vrft.train(ROWS, model="demo", task=Path("mine.py"))


def test_a_training_without_data_or_task_is_refused() -> None:
    with pytest.raises(UserError, match="give data, task=NAME or config=NAME"):
        vrft.train(model="demo")


SCRIPT = """
import sys
import vrft
from PIL import Image

assert "torch" not in sys.modules
print("started")
rows = [{"images": [Image.new("RGB", (56, 56), "red")], "question": "Colour?", "answer": "red"}]

def brief(completions, **columns):
    return [1.0 for completion in completions]

run = vrft.train(
    rows, reward=brief, model="demo", train={"max_steps": 1},
    sampling={"max_completion_length": 8}, algorithm={"num_generations": 2},
)
math = [{"question": "What is 1 + 1?", "answer": "2"}]
vrft.train(
    math, task="math", model="demo", train={"max_steps": 1, "output_dir": "runs/math"},
    sampling={"max_completion_length": 8}, algorithm={"num_generations": 2},
)
print(run.rewards)
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # math-verify's own process must not run the script a second time.
    assert done.stdout.splitlines() == ["started", "{1: 1.0}"]


def test_a_dry_run_is_a_plan_and_refuses_what_the_run_refuses() -> None:
    options: dict[str, Any] = {"model": "demo", "train": {"max_steps": 3, "output_dir": "run"}}
    plan = vrft.train(ROWS, dry_run=True, **options)
    assert plan.facts["steps"].startswith("3 at learning rate") and "2 samples" in str(plan)
    assert "&" not in plan.text and f"<pre>{plan.text}</pre>" == plan._repr_html_()
    assert not Path("run").exists()
    wrong = {**options, "sampling": {"temperature": 0}}
    messages = []
    for dry_run in ({"dry_run": True}, {}):
        with pytest.raises(UserError) as caught:
            vrft.train(ROWS, **wrong, **dry_run)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and not Path("run").exists()


def test_the_plan_of_a_resumed_run_says_what_changes() -> None:
    run = trained("run")
    longer: dict[str, Any] = {"resume": run, "train": {"max_steps": 2}}
    plan = vrft.train(dry_run=True, **longer)
    assert "train.max_steps" in plan.text.splitlines()[-1]
    assert [row["step"] for row in run.metrics] == [1]


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_ctrl_c_interrupts_python_after_a_checkpoint(
    number: signal.Signals, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loop.step

    def stop(made: Run) -> Any:
        result = plain(made)
        signal.raise_signal(number)
        return result

    two = {**FAST, "train": {"max_steps": 2, "output_dir": "run"}}
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(loop, "step", stop)
        vrft.train(ROWS, model="demo", **two)
    plan = vrft.train(ROWS, model=vrft.TrainResult(Path("run")), dry_run=True, **FAST)
    assert plan.facts["model"].startswith("run/checkpoint-1: ")  # as on the command line
    assert vrft.train(ROWS, resume="run").folder == Path("run")
    assert Path("run/final/config.json").is_file() and Path("run/checkpoint-1").is_dir()


def test_a_check_tells_problems_by_split_and_shows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leak = {"train": ROWS, "test": [{**ROWS[0], "id": "again", "question": "What <b>?"}]}
    result = vrft.check(leak, splits=["train", "test"], model="demo")
    assert not result.ok and result.count() == 1
    assert result.findings.problems[0].ids == ("again",)
    page = result._repr_html_()
    assert "<td>problem</td><td></td><td>1 of test show pictures of train: again</td>" in page
    assert str(result).splitlines()[-1].startswith("not ready: 1 problem")
    assert vrft.check(leak, model="demo", limit=1).splits[0].samples == 1


@pytest.mark.parametrize(
    "given",
    [
        {"data.columns.image": "img"},
        {"task": {"columns": {"image": "img"}}},
        {"task.columns": {"image": "img"}},
        {"config": "mine.yaml"},
    ],
)
def test_relative_pictures_of_rows_are_found_however_their_column_is_named(
    given: dict[str, Any],
) -> None:
    ROWS[0]["images"][0].save("a.png")
    Path("mine.yaml").write_text("task: {name: vqa, columns: {image: img}}\n")
    rows = [{"img": "a.png", "question": "Which colour?", "answer": "red"}]
    assert vrft.check(rows, model="demo", **given).ok
    assert "1 prompt(s)" in vrft.plan(rows, model="demo", gpu="24GB", **FAST, **given).facts


def test_splits_are_named_in_a_list_or_with_commas() -> None:
    for splits in ("train, test", ["train", "test"]):
        result = vrft.check({"train": ROWS[:1], "test": ROWS[1:]}, splits=splits, model="demo")
        assert [split.split for split in result.splits] == ["train", "test"]
    with pytest.raises(UserError, match="--splits: expected names of splits"):
        vrft.check(ROWS, splits=[], model="demo")
    with pytest.raises(UserError, match="splits: expected a name or a list of names, got 3"):
        vrft.check(ROWS, splits=3, model="demo")  # type: ignore[arg-type]


def test_a_check_tries_rewards_in_memory_that_no_other_process_has() -> None:
    def shades(completions: list[Any], shade: list[int]) -> list[float]:
        return [float(value) for value in shade]

    result = vrft.check(ROWS, reward=shades, model="demo")
    assert result.splits[0].gold["reward shades"] == 0.5 and result.ok
    with pytest.raises(UserError, match="'shades' needs the column 'shade'"):
        vrft.check(
            [{key: value for key, value in ROWS[0].items() if key != "shade"}],
            reward=shades,
            model="demo",
        )


def test_a_check_without_data_is_refused() -> None:
    with pytest.raises(UserError, match="give data, task=NAME or config=NAME"):
        vrft.check(model="demo")
    with pytest.raises(UserError, match="expected a whole number above zero"):
        vrft.check(ROWS, limit=0)


@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_run_is_trained_in_a_thread_beside_the_main_one(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the executor of a web server; a reward written with async waits there too."""

    async def patient(completions: list[Any], **columns: Any) -> list[float]:
        return [1.0 for _ in completions]

    settings = {**FAST, "algorithm": {"name": method, "num_generations": 2}}

    def work() -> vrft.TrainResult:
        reward = patient if method == "gpg" else None
        train = {"max_steps": 1, "output_dir": "run"}
        return vrft.train(ROWS, reward=reward, model="demo", train=train, **settings)

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(work).result()
    assert (run.model / "config.json").is_file() and len(run.metrics) >= 1
    assert capsys.readouterr().err.count("Ctrl-C and SIGTERM cannot be awaited") == 1


def test_a_check_compares_train_with_the_splits_beside_it() -> None:
    leak = {"train": ROWS, "test": [{**ROWS[0], "id": "again", "question": "What <b>?"}]}
    result = vrft.check(leak, model="demo")
    assert not result.ok and [split.split for split in result.splits] == ["train"]
    assert result.findings.problems[0].text == "1 of test show pictures of train: again"
    assert vrft.check(leak, splits="train", model="demo").ok
    # What cannot be read is noted, and fails no check of the training.
    broken = {"train": ROWS, "test": [{"question": "Which?"}]}
    result = vrft.check(broken, model="demo")
    assert result.ok and "test is there and not compared: " in result.findings.notes[0].text
