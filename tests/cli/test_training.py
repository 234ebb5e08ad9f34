"""``vrft train`` and ``vrft check``: rewards in files, and one clear line for each mistake."""

from __future__ import annotations

import json
import shlex
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.command_line import complaint
from PIL import Image

from vrft import cli, config
from vrft.cli import arguments, training
from vrft.config.schema import ModelConfig
from vrft.runs import run_log

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


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
    for name in ("metrics.jsonl", "config.yaml"):
        (data.parent / "run" / name).write_text("")
    message = complaint(capsys, *train(data, model_folder("qwen2_vl")))
    assert "holds another run; go on with `vrft train --resume" in message


def test_check_ends_with_0_for_good_data_and_1_for_bad(capsys: Capture, data: Path) -> None:
    argv = ["check", "--task", "lisa_grounding", f"task.data_dir={data}", "task.reward=iou"]
    assert cli.main(argv) == 0
    *_, verdict, _, plan, train = capsys.readouterr().out.splitlines()
    assert verdict == "ready to train"
    words = shlex.split(train)[1:]
    assert shlex.split(plan)[1:] == [*words, "--dry-run"]
    assert arguments.parse(words).settings == argv[-2:]
    (data / "val").mkdir()
    for name in ("a.jpg", "a.json"):  # the same picture again: a leak
        (data / "val" / name).write_bytes((data / "train" / name).read_bytes())
    assert cli.main([*argv, "--splits", "train"]) == 0  # and nothing else
    assert cli.main(argv) == 1
    told = capsys.readouterr().out
    assert "problem: 1 of val show pictures of train: a\n" in told
    assert "note: compared with val, 1 sample; `--splits train,val` checks it too\n" in told
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
    *_, note, verdict, _, _, _ = capsys.readouterr().out.splitlines()
    assert note.startswith(
        "note: prompts are not counted in tokens, pictures as Qwen2-VL sees them: model 'nobody/no"
    )
    assert verdict == "ready to train"


@pytest.mark.parametrize(("model", "side"), [("Qwen2-VL-2B", 28), ("Qwen3-VL-2B", 32)])
def test_check_without_its_model_sees_pictures_as_its_family_does(model: str, side: int) -> None:
    seen, whose = training.picture_sizes(ModelConfig(f"Qwen/{model}-Instruct"))
    assert seen[2] == side and whose == "this model"


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("rollout.ahead=1", "rollout.ahead=1: only a server can sample"),
        (
            "algorithm.importance_sampling=token_mask",
            "algorithm.importance_sampling=token_mask: the policy itself",
        ),
        ("rollout.engine=vllm", "rollout.engine=vllm: give either rollout.vllm.url"),
        (
            "rollout.engine=vllm rollout.vllm.url=http://127.0.0.1:1",
            "rollout.engine=vllm: the model's mrope_section has 9 entries",
        ),
    ],
)
def test_check_train_and_dry_run_refuse_the_same_rollouts(
    setting: str, line: str, capsys: Capture, data: Path
) -> None:
    assert cli.main(check_data(data, "model=demo", *setting.split())) == 1
    assert f"problem: {line}" in capsys.readouterr().out
    argv = train(data, Path("demo"), *setting.split())
    for more in ([], ["--dry-run"]):
        assert line in complaint(capsys, *argv, *more)


def test_the_data_of_check_stands_for_the_tasks_setting(capsys: Capture, data: Path) -> None:
    assert cli.main(check_data(data, "task.data_dir=nowhere")) == 0
    assert "no data at" in complaint(capsys, *check_data(data / "nowhere", "model=nobody/nothing"))
