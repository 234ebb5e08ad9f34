"""The command line: what each command prints, and one clear line for each mistake."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.folders import ROOT
from PIL import Image

from vrft import cli, config, paths, registry
from vrft.cli import arguments, commands
from vrft.config.methods import METHODS
from vrft.training import run_log

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def one_line(capsys: Capture) -> str:
    """The complaint on standard error, which must be a single line."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vrft: error: ")
    return line


def complaint(capsys: Capture, *argv: str) -> str:
    """What the command line complains of; it must stop with status 2."""
    capsys.readouterr()
    assert cli.main(argv) == 2
    return one_line(capsys)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        # refused by the grammar: see test_arguments.py
        (["tarin"], "invalid choice: 'tarin' (choose from"),
        # parsed, but too little to go on with
        (["train"], "give --task or --config; `vrft tasks` and `vrft config list` list them"),
        (["eval"], "give --benchmark NAME; `vrft eval --list` lists them"),
        (
            ["eval", "--benchmark", "demo_grounding"],
            "give --model DIR or ID, --all-checkpoints RUN",
        ),
        # settings without a value
        (["train", "--task", "lisa_grounding", "fast"], "'fast': settings are given as key"),
    ],
)
def test_a_malformed_command_is_one_clear_line(
    capsys: Capture, argv: list[str], message: str
) -> None:
    assert message in complaint(capsys, *argv)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["tasks"])


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vrft", "tasks"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupted_command_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "names", interrupt)
    assert cli.main(["tasks"]) == 130
    assert capsys.readouterr().err == "vrft: interrupted\n"


# Commands that need no model


def test_tasks_are_listed_with_what_they_are(capsys: Capture) -> None:
    assert cli.main(["tasks"]) == 0
    assert re.search("^lisa_grounding +Reasoning grounding", capsys.readouterr().out, re.MULTILINE)


def test_benchmarks_are_listed_with_their_titles(capsys: Capture) -> None:
    assert cli.main(["eval", "--list"]) == 0
    assert "lisa_val " in (out := capsys.readouterr().out)
    assert "ReasonSeg val" in out


def test_a_shown_configuration_is_one_that_can_be_used(capsys: Capture, tmp_path: Path) -> None:
    assert cli.main(["config", "show", "demo/lisa_grounding", "train.seed=5"]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capsys.readouterr().out)
    assert config.load(str(path)) == config.load("demo/lisa_grounding", ["train.seed=5"])


def test_a_configuration_is_copied_but_never_over_another(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["config", "copy", "demo/lisa_grounding"]) == 0
    assert config.load("lisa_grounding.yaml") == config.load("demo/lisa_grounding")
    again = complaint(capsys, "config", "copy", "demo/lisa_grounding")
    assert "lisa_grounding.yaml exists already" in again


def test_a_copy_that_cannot_be_written_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    target = str(tmp_path / "nowhere" / "a.yaml")
    message = complaint(capsys, "config", "copy", "lisa_grounding", target)
    assert f"{target}: cannot be written (No such file or directory)" in message


def test_env_names_versions_and_devices(capsys: Capture) -> None:
    assert cli.main(["env"]) == 0
    out = capsys.readouterr().out
    for name in ("python", "vrft", "torch", "transformers", "torchvision", "devices"):
        assert f"\n{name} " in f"\n{out}"


def test_the_table_of_algorithms_names_their_differences_and_their_papers(
    capsys: Capture,
) -> None:
    assert cli.main(["algorithms"]) == 0
    out = capsys.readouterr().out
    table, _, papers = out.partition("\n\n")
    head, *lines = table.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert [head.split()[0], *rows] == ["method", *METHODS]
    # the paper's Table 1: who needs a value model, who a reference model
    assert [name for name in METHODS if "critic (shared)" in rows[name]] == ["ppo"]
    needs_reference = [name for name in METHODS if "policy, reference" in rows[name]]
    assert needs_reference == ["grpo", "rloo", "reinforce_pp", "ppo"]
    assert "clip(ratio, 0.8, 1.28) A" in rows["dapo"]
    assert "r - mean of group / std of group  -log pi A" in rows["gpg"]
    assert re.search("^gpg +Chu et al. 2025, arXiv:2504.02546", papers, re.MULTILINE)


def test_the_demo_is_a_command_that_runs_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from vrft.cli import demo

    asked = []

    def run(args: argparse.Namespace, command: Callable[[list[str]], int]) -> int:
        asked.append((args.seed, args.settings, command))
        return 1

    monkeypatch.setattr(demo, "run", run)
    assert cli.main(["demo", "--seed", "1", "2", "--limit", "3", "train.max_steps=2"]) == 1
    assert asked == [([1, 2], ["train.max_steps=2"], cli.main)]


# Where the configuration comes from


def resolve(*argv: str) -> config.Config:
    args = arguments.parse(["train", *argv])
    return commands.resolve(args, args.resume)


def test_a_task_brings_the_configuration_of_its_name() -> None:
    assert resolve("--task", "lisa_grounding") == config.load("lisa_grounding")


def test_a_task_on_the_command_line_replaces_the_one_in_the_file() -> None:
    got = resolve("--config", "demo/lisa_grounding", "--task", "my_task.py")
    assert got.task.name == "my_task.py"
    assert got.model.name == "demo"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--task", "geoqa", "--config", "demo/lisa_grounding"],
            "--task geoqa: --config demo/lisa_grounding is for the task lisa_grounding",
        ),
        (["--task", "geoqa", "task=counting"], "task=counting is for the task counting"),
        (["--task", "math", "--config", "spatial"], "--config spatial is for the task spatial"),
    ],
)
def test_a_configuration_for_another_task_is_refused_by_name(
    words: list[str], message: str, capsys: Capture
) -> None:
    for verb in (["train"], ["train", "--dry-run"], ["check"]):
        assert message in complaint(capsys, *verb, *words)


def test_the_settings_of_another_tasks_configuration_can_be_asked_for() -> None:
    got = resolve("--task", "geoqa", "--config", "demo/lisa_grounding", "task=geoqa")
    assert (got.task.name, got.model.name) == ("geoqa", "demo")


REWARDS = """
def brief(completions, completion_ids, level, trainer_state, log_metric, log_extra, **columns):
    lengths = [len(ids) for ids in completion_ids]
    log_metric("step_seen", trainer_state.global_step)
    log_extra("letters", [len(c[0]["content"]) for c in completions])
    return [-length / 100 for length in lengths]


async def patient(prompts, completions, **columns):
    return [1 for _ in prompts]


def needy(completions, difficulty):
    return [0.0 for _ in completions]


def short(completions, **columns):
    return [0.0, 0.0, 0.0]


def worded(completions, **columns):
    return ["0.5" for _ in completions]


def bare(completions, **columns):
    return 0.5
"""


@pytest.fixture
def reward_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write reward functions of TRL's into a file of a name of its own, and rows beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    picture = Image.new("RGB", (56, 56), "red")
    picture.save(tmp_path / "a.png")
    rows = [
        {"id": str(i), "images": ["a.png"], "question": "How many?", "answer": i, "level": "easy"}
        for i in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / f"rewards_{abs(hash(tmp_path))}.py"
    path.write_text(REWARDS)
    return path


def test_reward_functions_of_trl_train_unchanged_and_a_resumed_run_has_them(
    capsys: Capture, tmp_path: Path, reward_file: Path, model_folder: ModelFolder
) -> None:
    run = tmp_path / "run"
    argv = ["train", "--task", "counting", f"task.data_dir={tmp_path / 'rows.jsonl'}"]
    argv += [f"model={model_folder('qwen2_vl')}", f"train.output_dir={run}"]
    argv += ["sampling.max_completion_length=5", "algorithm.num_generations=2"]
    argv += ["train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=1"]
    given = ["--reward", f"{reward_file}:brief=0.5", "--reward", f"{reward_file}:patient"]
    assert cli.main([*argv, *given, "--dry-run"]) == 0
    assert "rewards accuracy, format, brief x 0.5, patient\n" in capsys.readouterr().out
    assert cli.main([*argv, *given, "train.max_steps=1"]) == 0
    assert "rewards: accuracy, format, brief x 0.5, patient\n" in capsys.readouterr().err
    recorded = config.load(str(run / "config.yaml")).algorithm.rewards
    assert recorded == (f"{reward_file}:brief=0.5", f"{reward_file}:patient")
    (row,) = run_log.read_metrics(run / "metrics.jsonl")
    assert (row["rewards/patient/mean"], row["step_seen"]) == (1.0, 0.0)
    completions = (run / "completions" / "000001.jsonl").read_text().splitlines()
    for line in map(json.loads, completions):
        assert line["letters"] == len(line["text"])
        assert line["rewards"]["brief"] == -line["tokens"] / 100
    assert cli.main(["train", "--resume", str(run), "train.max_steps=2"]) == 0
    assert run_log.read_metrics(run / "metrics.jsonl")[1]["step_seen"] == 1.0
    message = complaint(capsys, "train", "--resume", str(run), *given)
    assert "goes on with the run's rewards; leave --reward out" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no function 'nothing'; known: bare, brief, needy"),
        ("needy", "reward 'needy' needs the column 'difficulty', which sample '0' has not"),
        ("short", "reward 'short', sample '0': expected a list of 1 value(s)"),
        ("worded", "reward 'worded', sample '0': got '0.5' of type str"),
        ("bare", "reward 'bare', sample '0': expected a list of 1 value(s), one for each"),
        ("brief=nan", "expected file.py:function or file.py:function=weight"),
    ],
)
def test_train_dry_run_and_check_refuse_the_same_rewards(
    name: str, message: str, capsys: Capture, tmp_path: Path, reward_file: Path
) -> None:
    words = ["--task", "counting", "--data", str(tmp_path / "rows.jsonl"), "model=demo"]
    words += ["--reward", f"{reward_file}:{name}"]
    run = tmp_path / "run"
    lines = [
        complaint(capsys, "train", *words, f"train.output_dir={run}"),
        complaint(capsys, "train", *words, f"train.output_dir={run}", "--dry-run"),
    ]
    assert cli.main(["check", *words]) == 2
    lines.append(capsys.readouterr().err.splitlines()[-1])  # behind the lines of its progress
    assert all(message in line for line in lines)
    assert not run.exists()


def test_a_penalty_is_no_fault_of_the_gold_answers(
    capsys: Capture, tmp_path: Path, reward_file: Path
) -> None:
    words = ["check", "--task", "counting", "--data", str(tmp_path / "rows.jsonl"), "model=demo"]
    cli.main([*words, "--reward", f"{reward_file}:patient"])
    plain = capsys.readouterr().out
    assert "reward patient 1.000" in plain
    assert "of reward patient" not in plain  # an empty answer earns it, and that is its own affair


def test_a_resumed_run_brings_its_own_configuration_and_stays_in_its_folder(
    tmp_path: Path,
) -> None:
    former = config.load("demo/lisa_grounding", ["train.seed=9", "train.output_dir=before/moving"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(former))
    got = resolve("--resume", str(tmp_path))
    assert got.train.output_dir == str(tmp_path)
    assert got == replace(former, train=replace(former.train, output_dir=str(tmp_path)))


def test_a_folder_without_a_run_cannot_be_resumed(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, "train", "--resume", str(tmp_path))
    assert "no run there, config.yaml is missing" in message


# Mistakes in data, model and folders


RECORD = {
    "text": ["the thing"],
    "is_sentence": False,
    "shapes": [{"label": "target", "points": [[10, 10], [40, 10], [40, 40]]}],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A ReasonSeg folder with one good picture."""
    split = tmp_path / "data" / "train"
    split.mkdir(parents=True)
    Image.new("RGB", (56, 56), "navy").save(split / "a.jpg")
    (split / "a.json").write_text(json.dumps(RECORD))
    return tmp_path / "data"


def train(data: Path, model: Path, *settings: str) -> list[str]:
    """A training command of one step on ``data``."""
    return [
        *("train", "--task", "lisa_grounding"),
        *(f"task.data_dir={data}", f"model={model}", "model.dtype=float32"),
        *("train.max_steps=1", "train.gradient_accumulation_steps=1", "task.reward=iou"),
        *("sampling.max_completion_length=4", "algorithm.num_generations=2"),
        *("algorithm.min_informative=0", f"train.output_dir={data.parent / 'run'}"),
        *settings,
    ]


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels; there are none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rest = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest


SHAPELESS = json.dumps({**RECORD, "shapes": [{"label": "target", "points": []}]})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"text": [', "a.json: not readable JSON"),
        ("a.json", SHAPELESS.encode(), "a.json: shape 0 has no points; correct or remove it"),
        ("a.jpg", b"these are words", "a.jpg: not a picture"),
        ("a.jpg", png_of(50_000, 40_000), "a.jpg: picture too large (Image size (2000000000"),
    ],
    ids=["json that does not parse", "no points", "no picture", "2 gigapixels"],
)
def test_a_bad_file_is_one_clear_line(
    capsys: Capture,
    data: Path,
    model_folder: ModelFolder,
    name: str,
    content: bytes,
    message: str,
) -> None:
    (data / "train" / name).write_bytes(content)
    assert message in complaint(capsys, *train(data, model_folder("qwen2_vl")))


def test_an_unknown_task_is_one_clear_line_and_no_folder(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = complaint(capsys, "train", "--task", "lisa_groundin")
    assert "unknown task 'lisa_groundin'; did you mean 'lisa_grounding'?" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.learning_rat=1", "unknown setting train.learning_rat; did you mean train.learning"),
        ("task.data_dri=1", "unknown setting task.data_dri; did you mean task.data_dir?"),
        ("train.max_steps=soon", "train.max_steps: expected int, got 'soon'"),
    ],
)
def test_an_unknown_setting_is_one_clear_line(
    capsys: Capture, data: Path, setting: str, message: str
) -> None:
    assert message in complaint(capsys, *train(data, Path("demo"), setting))


def test_a_missing_data_folder_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, *train(tmp_path / "nowhere", Path("demo")))
    assert f"no data at {tmp_path / 'nowhere'}; set task.data_dir to" in message


def test_a_prompt_over_the_limit_is_one_clear_line(
    capsys: Capture, data: Path, model_folder: ModelFolder
) -> None:
    # 560 x 560 pixels are 400 image tokens
    Image.new("RGB", (560, 560)).save(data / "train" / "a.jpg")
    argv = train(data, model_folder("qwen2_vl"), "sampling.max_prompt_length=300")
    message = complaint(capsys, *argv)
    assert "300" in message
    assert "a.jpg" in message


def test_a_model_of_a_wrong_family_is_one_clear_line(
    capsys: Capture, data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "llama"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    assert "its family is 'llama', not" in complaint(capsys, *train(data, model))


def test_a_folder_without_a_model_is_one_clear_line(capsys: Capture, data: Path) -> None:
    assert "no model there" in complaint(capsys, *train(data, data))


def test_a_folder_of_another_run_is_one_clear_line(
    capsys: Capture, data: Path, model_folder: ModelFolder
) -> None:
    (data.parent / "run").mkdir()
    (data.parent / "run" / "metrics.jsonl").write_text("")
    message = complaint(capsys, *train(data, model_folder("qwen2_vl")))
    assert "holds another run; go on with `vrft train --resume" in message


def test_a_benchmark_without_its_data_is_one_clear_line(capsys: Capture) -> None:
    message = complaint(capsys, "eval", "--benchmark", "lisa_val", "--model", "demo")
    assert "lisa_val: give its data with --data DIR" in message


def test_a_missing_predictions_file_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, "show", str(tmp_path / "predictions.jsonl"))
    assert "predictions.jsonl: cannot be read" in message


# The commands together


MY_TASK = '''
"""Which colour is it?"""

from dataclasses import dataclass
from PIL import Image
from vrft import Prompt, Sample, Score, Task


@dataclass(frozen=True)
class Colours(Task[str]):
    primary = "right"
    data = "no data"

    def samples(self, split):
        image = Image.new("RGB", (56, 56), "red")
        return [Sample(str(i), "Which colour?", "red", (image,)) for i in range(3)]

    def prompt(self, sample):
        return Prompt(sample.question, sample.images)

    def reference(self, sample, views):
        return sample.answer

    def rewards(self):
        return {"letters": lambda sample, completion: (len(completion.text) % 5) / 5}

    def score(self, sample, completion):
        return Score({"right": float(sample.answer in completion.text)}, completion.text or None)
'''


@pytest.fixture
def my_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task written in one file."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "colours_of_my_own", None)
    monkeypatch.delitem(sys.modules, "colours_of_my_own")
    path = tmp_path / "colours_of_my_own.py"
    path.write_text(MY_TASK)
    return path


def test_a_task_in_one_file_is_trained_evaluated_and_shown(
    capsys: Capture,
    tmp_path: Path,
    my_task: Path,
    model_folder: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = model_folder("qwen2_vl")
    argv = ["train", "--task", str(my_task), f"model={model}", "train.output_dir=run"]
    small = ["train.max_steps=2", "sampling.max_completion_length=5", "train.learning_rate=1e-3"]
    assert cli.main([*argv, *small]) == 0
    assert capsys.readouterr().out == "run: run\nmodel: run/final\n"
    assert [row["step"] for row in run_log.read_metrics(Path("run/metrics.jsonl"))] == [1, 2]

    benchmark = tmp_path / "colours.yaml"
    benchmark.write_text(
        f"title: Colours\ntask: {my_task}\nsplit: test\nsampling: {{max_completion_length: 5}}\n"
    )
    evaluate = ["eval", "--benchmark", str(benchmark), "--limit", "2"]
    assert cli.main([*evaluate, "--model", "run/final"]) == 0
    out = Path("runs/eval/colours-run-final-first2")
    assert f"page: {out / 'index.html'}" in capsys.readouterr().out
    lines = (out / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "1"]

    assert cli.main([*evaluate, "--predictions", str(out / "predictions.jsonl")]) == 0
    assert "right" in capsys.readouterr().out
    assert cli.main(["show", str(out / "predictions.jsonl"), "--worst", "1"]) == 0
    page = Path(capsys.readouterr().out.removeprefix("page: ").strip())
    assert "Which colour?" in page.read_text()

    assert cli.main(["compare", str(out), str(out / "predictions.jsonl")]) == 0
    assert "right of 2 samples: 0 better, 0 worse" in capsys.readouterr().out
    assert cli.main(["compare", str(out), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["benchmark"], found["changes"]) == ("colours", [])
    assert found["metrics"][0]["difference"]["mean"] == 0.0


def test_check_ends_with_0_for_good_data_and_1_for_bad(capsys: Capture, data: Path) -> None:
    argv = ["check", "--task", "lisa_grounding", f"task.data_dir={data}", "task.reward=iou"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ready to train"
    (data / "val").mkdir()
    for name in ("a.jpg", "a.json"):  # the same picture again: a leak
        (data / "val" / name).write_bytes((data / "train" / name).read_bytes())
    assert cli.main([*argv, "--splits", "train,val", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert found["problems"] == [{"text": "1 of val show pictures of train: a", "ids": ["a"]}]


def check_data(data: Path, *settings: str) -> list[str]:
    return ["check", "--task", "lisa_grounding", "--data", str(data), *settings]


def test_check_counts_prompts_by_the_model_that_is_configured(
    capsys: Capture, data: Path, model_folder: ModelFolder
) -> None:
    argv = check_data(data, f"model={model_folder('qwen2_vl')}")
    assert cli.main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tokens = int(found["splits"][0]["spreads"]["prompt tokens"]["largest"])
    assert cli.main([*argv, f"sampling.max_prompt_length={tokens}"]) == 0
    assert cli.main([*argv, f"sampling.max_prompt_length={tokens - 1}"]) == 1
    problem = f"1 have a prompt over sampling.max_prompt_length={tokens - 1}: a#0"
    assert f"  problem: {problem}" in capsys.readouterr().out.splitlines()


def test_check_without_its_model_says_so_and_checks_the_rest(capsys: Capture, data: Path) -> None:
    assert cli.main(check_data(data, "model=nobody/no-such-model")) == 0
    *_, note, verdict = capsys.readouterr().out.splitlines()
    assert note.startswith("note: prompts are not counted in tokens: model 'nobody/no-such-model'")
    assert verdict == "ready to train"


def test_the_data_of_check_stands_for_the_tasks_setting(capsys: Capture, data: Path) -> None:
    assert cli.main(check_data(data, "task.data_dir=nowhere")) == 0
    assert "no data at" in complaint(capsys, *check_data(data / "nowhere", "model=nobody/nothing"))


def test_the_task_in_the_readme_works(
    capsys: Capture, tmp_path: Path, model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    Path("naming.py").write_text(code)
    for name, colour in (("sky", "blue"), ("grass", "green")):
        Path("pictures", "train", name).mkdir(parents=True)
        Image.new("RGB", (56, 56), colour).save(f"pictures/train/{name}/1.jpg")
    task = ["--task", "naming.py", "task.data_dir=pictures"]
    assert cli.main(["check", *task]) == 0, capsys.readouterr().out
    assert "gold answers earn: reward right 1.000, reward format 1.000" in capsys.readouterr().out
    assert cli.main(["train", *task, f"model={model_folder('qwen2_vl')}", "--dry-run"]) == 0
    assert "naming.py: 2 samples, rewards right, format" in capsys.readouterr().out
    assert not Path("runs").exists()


def documented_commands() -> list[str]:
    """The lines of the documents and of the shipped YAML files that are commands of ``vrft``."""
    files = [ROOT / "README.md", ROOT / "tasks/README.md"]
    files += [
        paths.find(kind, name) for kind in ("configs", "benchmarks") for name in paths.names(kind)
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return sorted(set(re.findall(r"^(?:#? +)?(vrft \w.*)$", text, re.MULTILINE)))


@pytest.mark.parametrize("line", documented_commands())
def test_a_documented_command_is_well_formed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's own rows, which choose their task.
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"question": "?", "answer": "1"}\n', encoding="utf-8")
    args = arguments.parse(shlex.split(line)[1:])
    if args.command == "train" and not (args.task or "").endswith(".py"):
        commands.resolve(args)
    if args.command == "eval" and args.benchmark is not None:
        paths.find("benchmarks", args.benchmark)


def test_documented_commands_are_found() -> None:
    found = documented_commands()
    assert "vrft check --task brighter_side.py" in found  # tasks/README.md
    assert "vrft train --task lisa_grounding --config demo/lisa_grounding" in found  # configs/
