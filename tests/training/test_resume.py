"""A resumed run takes what can be changed, writes it down, and refuses the rest by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.folders import FAKES
from PIL import Image
from safetensors.torch import load_file

from vrft import cli, config
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models import manifest
from vrft.models.loaded import LoadedModel
from vrft.runs import data_fingerprint, launches, run_folder
from vrft.runs.run_log import read_metrics
from vrft.sft import fine_tune
from vrft.training import checkpoint, resume, train, trainer_state
from vrft.training.plan_text import plan_text

LETTERS = FAKES / "letters_task.py"

Settings = Callable[..., list[str]]
Capture = pytest.CaptureFixture[str]

FIXED = frozenset(
    {
        *("task.name", "task.settings"),
        *("model.name", "model.dtype", "model.min_pixels", "model.max_pixels"),
        "model.quantization",
        "model.chat_template_kwargs",
        *("model.freeze_vision_tower", "model.freeze_language_model"),
        *("model.lora.r", "model.lora.lora_alpha", "model.lora.lora_dropout"),
        "model.lora.target_modules",
        *("algorithm.name", "algorithm.num_generations", "algorithm.baseline"),
        *("algorithm.f_norm", "algorithm.alpha", "algorithm.min_informative"),
        *("algorithm.max_resample_rounds", "algorithm.on_exhausted", "algorithm.surrogate"),
        *("algorithm.epsilon", "algorithm.epsilon_high", "algorithm.beta", "algorithm.kl_in"),
        *("algorithm.token_mean", "algorithm.num_iterations", "algorithm.num_mini_batches"),
        *("algorithm.importance_sampling", "algorithm.importance_sampling_cap"),
        *("algorithm.importance_sampling_clip_min", "algorithm.importance_sampling_level"),
        *("algorithm.alpha_counts", "algorithm.delta", "algorithm.off_policy_mask_threshold"),
        *("algorithm.sapo_temperature_pos", "algorithm.sapo_temperature_neg"),
        *("algorithm.mask_truncated_completions", "algorithm.multi_objective_aggregation"),
        *("algorithm.entropy_coef", "algorithm.use_adaptive_entropy", "algorithm.entropy_target"),
        *("algorithm.entropy_coef_min", "algorithm.entropy_coef_max"),
        *("algorithm.entropy_coef_delta", "algorithm.min_pass_rate", "algorithm.max_pass_rate"),
        "algorithm.rest_epochs",
        *("algorithm.overlong_cache", "algorithm.reward_weights", "algorithm.rewards"),
        *("algorithm.critic.gamma", "algorithm.critic.lam", "algorithm.critic.vf_coef"),
        *("algorithm.critic.cliprange_value", "algorithm.critic.entropy_coef"),
        *("sampling.temperature", "sampling.top_p", "sampling.top_k"),
        *("sampling.repetition_penalty", "sampling.max_completion_length"),
        *("rollout.engine", "rollout.ahead", "train.seed"),
        "train.optim",
    }
)
"""Settings with which it would be another run."""


@pytest.fixture
def settings(tmp_path: Path, model_folder: Callable[[str], Path]) -> Settings:
    """The settings of a short run with a warm-up and a falling rate."""

    def make(name: str, *more: str) -> list[str]:
        return short_run(model_folder("qwen2_vl"), tmp_path / name, *more)

    return make


def short_run(model: Path, out: Path, *more: str) -> list[str]:
    """Return the settings of a run of three steps; what is given last holds."""
    return [
        f"task={LETTERS}",
        f"model={model}",
        "algorithm.num_generations=4",
        "sampling.max_completion_length=5",
        "train.per_device_train_batch_size=2",
        "train.max_steps=3",
        "train.learning_rate=1e-3",
        "train.warmup_ratio=0.5",
        "train.save_steps=1",
        f"train.output_dir={out}",
        *more,
    ]


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run of letters that stopped after step 39, without its weights."""
    run = tmp_path / "run"
    run_folder.claim(config.load(None, [f"task={LETTERS}", f"train.output_dir={run}"]))
    stop_after(run, 39)
    return run


def stop_after(run: Path, step: int) -> None:
    """Leave one checkpoint, of that step."""
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)
    (run / f"checkpoint-{step}").mkdir()
    (run / f"checkpoint-{step}" / trainer_state.STATE).write_text("{}")
    manifest.write(run / f"checkpoint-{step}")


def again(run: Path, *settings: str) -> Config:
    return config.load(str(run / "config.yaml"), [f"train.output_dir={run}", *settings])


def learn(settings: list[str]) -> Path:
    """Train by reward, or on references, as ``vrft train`` does."""
    made = config.load(None, settings)
    return fine_tune.train(made) if made.algorithm.name == "sft" else train.train(made)


def same_weights(first: Path, second: Path) -> bool:
    a, b = (load_file(run / "final" / "model.safetensors") for run in (first, second))
    return all(a[name].equal(b[name]) for name in a)


# Every setting is in one of the two lists


def leaves(cls: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of every setting; a mapping is one."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        inner = hints[field.name]
        if dataclasses.is_dataclass(inner):
            yield from leaves(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_every_setting_can_be_changed_or_cannot() -> None:
    """A new setting is classified: in vrft/training/resume.py as FREE, or here as FIXED."""
    assert sorted(resume.FREE | FIXED) == sorted(leaves(Config))
    assert not resume.FREE & FIXED


OTHER: dict[str, str] = {
    "data.on_bad_picture": "skip",
    "train.max_steps": "50",
    "train.num_train_epochs": "2",
    "train.lr_scheduler_type": "cosine",
    "train.report_to": "tensorboard",
    "train.output_dir": "elsewhere",
    "model.attn_implementation": "eager",
    "algorithm.missing_rewards": "none",
    "train.greater_is_better": "true",
    "eval.split": "val",
    "rollout.vllm.devices": "3",
    "task.name": "other",
    "task.settings": "{template: other}",
    "model.name": "other",
    "model.dtype": "float32",
    "model.quantization": "nf4",
    "model.chat_template_kwargs": "{enable_thinking: false}",
    "model.lora.target_modules": "[q_proj]",
    "algorithm.name": "grpo",
    "algorithm.baseline": "leave_one_out",
    "algorithm.f_norm": "none",
    "algorithm.on_exhausted": "skip",
    "algorithm.surrogate": "clipped",
    "algorithm.importance_sampling_level": "sequence",
    "algorithm.alpha_counts": "nonzero_rewards",
    "algorithm.multi_objective_aggregation": "normalize_then_sum",
    "algorithm.kl_in": "reward",
    "algorithm.token_mean": "sum",
    "algorithm.importance_sampling": "off",
    "train.optim": "adamw_bnb_8bit",
    "algorithm.reward_weights": "{different: 2}",
    "algorithm.rewards": "mine.py:brief",
    "rollout.engine": "vllm",
    "rollout.ahead": "1",
    "rollout.vllm.lora": "adapter",
    "rollout.vllm.url": "http://127.0.0.1:8000",
    "rollout.vllm.python": "other/bin/python",
    "rollout.vllm.arguments": "[--seed, '3']",
}
"""Another value of each setting that is no number and no truth value."""


def another_value(path: str) -> str:
    value: Any = Config()
    for part in path.split("."):
        value = getattr(value, part)
    if path in OTHER:
        return OTHER[path]
    if isinstance(value, bool):
        return str(not value).lower()
    return "7" if value is None or isinstance(value, int) else str(value / 2 or 0.5)


@pytest.mark.parametrize("path", sorted(FIXED))
def test_what_makes_another_run_is_refused_by_name(path: str, begun: Path) -> None:
    now = again(begun, f"{path}={another_value(path)}")
    with pytest.raises(UserError, match=r"cannot change within a run; leave") as caught:
        resume.check_settings(now, begun)
    message = str(caught.value)
    assert path.removesuffix(".settings") in message
    assert f"model={begun / 'checkpoint-39'} train.output_dir=NEW" in message
    assert "\n" not in message
    (begun / "final").mkdir()
    with pytest.raises(UserError, match=rf"model={begun / 'final'} train\.output_dir=NEW"):
        resume.check_settings(now, begun)


@pytest.mark.parametrize("path", sorted(resume.FREE - {"train.output_dir"}))
def test_what_can_be_changed_is_printed_and_written(
    path: str, begun: Path, capsys: Capture
) -> None:
    now = again(begun, f"{path}={another_value(path)}")
    resume.check_settings(now, begun)
    resume.go_on(now, begun)
    first, line = capsys.readouterr().err.splitlines()
    assert first == f"resuming {begun} from step 39"
    assert line.startswith(f"{path}: ") and line.endswith(" from step 40 on")
    assert config.load(str(begun / "config.yaml")) == now
    assert config.load(str(begun / "config-40.yaml")) == now
    assert config.load(str(begun / "config-1.yaml")) != now


def test_a_change_is_one_line(begun: Path, capsys: Capture) -> None:
    now = again(begun, "train.learning_rate=1e-5", "eval.split=val", "train.report_to=[]")
    resume.go_on(now, begun)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "train.learning_rate: 1e-06 -> 1e-05 from step 40 on",
        'eval.split: "" -> val from step 40 on',
    ]


# The history


def test_the_history_has_the_settings_of_every_step(begun: Path) -> None:
    def rates() -> dict[str, float]:
        files = sorted(path for path in begun.glob("config*.yaml"))
        return {path.name: config.load(str(path)).train.learning_rate for path in files}

    resume.go_on(again(begun), begun)
    assert rates() == {"config-1.yaml": 1e-6, "config.yaml": 1e-6}
    resume.go_on(again(begun, "train.learning_rate=2"), begun)
    assert rates() == {"config-1.yaml": 1e-6, "config-40.yaml": 2, "config.yaml": 2}
    # Stopped before another checkpoint: steps from 40 on are taken anew, with a third rate.
    resume.go_on(again(begun, "train.learning_rate=3"), begun)
    assert rates() == {"config-1.yaml": 1e-6, "config-40.yaml": 3, "config.yaml": 3}
    stop_after(begun, 60)
    resume.go_on(again(begun, "train.learning_rate=4"), begun)
    assert list(rates().values()) == [1e-6, 3, 4, 4]
    # The checkpoints after step 50 are lost.
    stop_after(begun, 50)
    resume.go_on(again(begun, "train.learning_rate=3"), begun)
    assert rates() == {"config-1.yaml": 1e-6, "config-40.yaml": 3, "config.yaml": 3}
    # All are: the run begins anew.
    shutil.rmtree(begun / "checkpoint-50")
    resume.go_on(again(begun, "train.learning_rate=5"), begun)
    assert rates() == {"config-1.yaml": 5, "config.yaml": 5}


def test_a_run_from_before_there_was_a_history_gets_one(begun: Path) -> None:
    (begun / "config-1.yaml").unlink()
    resume.go_on(again(begun, "train.learning_rate=2"), begun)
    assert config.load(str(begun / "config-1.yaml")).train.learning_rate == 1e-6
    assert config.load(str(begun / "config-40.yaml")).train.learning_rate == 2


def test_a_run_that_was_moved_goes_on_where_it_is(begun: Path, tmp_path: Path) -> None:
    moved = begun.rename(tmp_path / "moved")
    resume.check_settings(again(moved), moved)
    resume.go_on(again(moved), moved)
    assert config.load(str(moved / "config.yaml")).train.output_dir == str(moved)


def moved_run(folder: Path, *settings: str) -> Path:
    """Return a run with a fingerprint of no data, as if it had begun with these settings."""
    run = folder / "run"
    run_folder.claim(config.load(None, [f"train.output_dir={run}", *settings]))
    data_fingerprint.write(run, [], 1)
    return run


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["task=vqa", "task.data_dir=old/q.jsonl"], ["task.data_dir=new/rows.jsonl"]),
        (["task=old/mine.py"], ["task=new/mine.py"]),
        (
            ["algorithm.rewards=[old/r.py:brief=0.5, old/r.py:kind]"],
            ["algorithm.rewards=[/new/r.py:brief=0.5, /new/r.py:kind]"],
        ),
    ],
)
def test_a_run_goes_on_with_its_files_in_another_place(
    before: list[str], now: list[str], tmp_path: Path, capsys: Capture
) -> None:
    run = moved_run(tmp_path, *before)
    stop_after(run, 3)
    resume.check_settings(again(run, *now), run)
    resume.go_on(again(run, *now), run)
    (line,) = capsys.readouterr().err.splitlines()[1:]
    assert "old/" in line and "new/" in line and line.endswith(" from step 4 on")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["task=old/mine.py"], ["task=new/yours.py"]),
        (["task=old/mine.py"], ["task=mine"]),
        (["algorithm.rewards=[old/r.py:brief]"], ["algorithm.rewards=[new/r.py:kind]"]),
        (["algorithm.rewards=[old/r.py:brief]"], ["algorithm.rewards=[new/r.py:brief=2]"]),
        (["algorithm.rewards=[r.py:brief]"], ["algorithm.rewards=[r.py:brief, r.py:kind]"]),
    ],
)
def test_another_file_is_no_moved_one(before: list[str], now: list[str], tmp_path: Path) -> None:
    run = moved_run(tmp_path, *before)
    with pytest.raises(UserError, match="cannot change within a run"):
        resume.check_settings(again(run, *now), run)


def test_data_that_cannot_be_compared_stay_where_they_are(tmp_path: Path) -> None:
    run = moved_run(tmp_path, "task=vqa", "task.data_dir=old.jsonl")
    (run / data_fingerprint.NAME).unlink()
    with pytest.raises(UserError, match=r"task\.data_dir .* cannot change within a run"):
        resume.check_settings(again(run, "task.data_dir=new.jsonl"), run)


def test_a_run_goes_on_from_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here/base", "there"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here" / "q.jsonl").touch()
    monkeypatch.chdir(tmp_path / "here")
    files = ["task=mine.py", "task.data_dir=q.jsonl", "model=base"]
    run = moved_run(tmp_path, *files, "algorithm.rewards=[r.py:brief]")
    made = config.load(str(run / "config.yaml"))
    assert made.task.name == str(tmp_path / "here" / "mine.py")
    assert made.task.settings["data_dir"] == str(tmp_path / "here" / "q.jsonl")
    assert made.model.name == str(tmp_path / "here" / "base")
    assert made.algorithm.rewards == (f"{tmp_path / 'here' / 'r.py'}:brief",)
    resume.check_settings(again(run, *files), run)  # the same, as it was typed
    monkeypatch.chdir(tmp_path / "there")
    assert not resume.lines(again(run), run)
    assert not resume.lines(again(run, "task.data_dir=../here/q.jsonl", "model=../here/base"), run)


@pytest.mark.parametrize("name", ["demo", "org/data"])
def test_names_that_are_no_paths_stay_as_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    run = moved_run(tmp_path, "task=vqa", f"task.data_dir={name}", f"model={name}")
    made = config.load(str(run / "config.yaml"))
    assert (made.task.name, made.task.settings["data_dir"], made.model.name) == ("vqa", name, name)


@pytest.mark.parametrize(
    "spoil",
    [
        # a seed changed by hand
        lambda text: text.replace("seed: 42", "seed: 7"),
        # cut off by a full disk: behind the first lines, and before them
        lambda text: text[: text.index("model:")].replace("settings: {}", "settings: {a: 1}"),
        lambda text: "",
    ],
)
def test_a_config_that_was_edited_or_cut_off_is_noticed(
    spoil: Callable[[str], str], begun: Path
) -> None:
    (begun / "config.yaml").write_text(spoil((begun / "config.yaml").read_text()))
    with pytest.raises(UserError, match=r"copy .*config-1\.yaml over .*, which was edited"):
        resume.check_settings(again(begun), begun)


def test_the_command_line_refuses_before_anything_is_built(
    begun: Path, capsys: Capture, tmp_path: Path
) -> None:
    for given, said in (
        (["algorithm=sft"], "algorithm.name (gpg -> sft) cannot change within a run; leave it out"),
        (["task=vqa"], "task.name"),
        (["model=Qwen/Qwen2-VL-7B-Instruct"], "model.name (Qwen/Qwen2-VL-2B-Instruct -> Qwen/Qw"),
        (["--task", "counting"], "leave one of them out"),
        (["--config", "demo/counting"], "more cannot change within a run; leave them out"),
        (["train.output_dir=other"], "train.output_dir=other names another folder"),
        (["train.learning_rat=1"], "did you mean train.learning_rate"),
    ):
        for dry in ([], ["--dry-run"]):
            assert cli.main(["train", "--resume", str(begun), *given, *dry]) == 2
            message = capsys.readouterr().err
            assert said in message and message.count("\n") == 1
    assert sorted(path.name for path in begun.iterdir()) == [
        "checkpoint-39", "config-1.yaml", "config.yaml",
    ]  # fmt: skip


def test_the_same_value_in_other_words_is_no_change(begun: Path) -> None:
    same = ["train.learning_rate=0.000001", "algorithm=gpg", "train.report_to=[]"]
    assert not resume.lines(again(begun, *same), begun)


def test_no_tracker_is_a_value_like_any_other(begun: Path) -> None:
    resume.go_on(again(begun, "train.report_to=tensorboard"), begun)
    stop_after(begun, 60)
    assert resume.lines(again(begun, "train.report_to=none"), begun) == [
        'train.report_to: ["tensorboard"] -> ["none"] from step 61 on'
    ]


# The number of prompts in a step, and of steps


@pytest.mark.parametrize(
    ("size", "parts", "processes", "said"),
    [
        # as it was, cut otherwise, and on more devices
        (4, 2, 1, None),
        (1, 8, 1, None),
        (2, 1, 4, None),
        # half and twice as many prompts
        (2, 2, 1, "make steps of 4 prompts, but the run's have 8; give train.gradient_accumul"),
        (4, 2, 2, "make steps of 16 prompts, but the run's have 8; give train.gradient_accumu"),
        # no number of parts would do
        (3, 1, 1, "make steps of 3 prompts, but the run's have 8; leave them out"),
        (16, 1, 1, "make steps of 16 prompts, but the run's have 8; leave them out"),
    ],
)
def test_a_step_keeps_its_number_of_prompts(
    size: int, parts: int, processes: int, said: str | None, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin = ["train.per_device_train_batch_size=4", "train.gradient_accumulation_steps=2"]
    run_folder.claim(config.load(None, [f"train.output_dir={run}", *begin]))
    data_fingerprint.write(run, [], 8)
    now = again(
        run,
        f"train.per_device_train_batch_size={size}",
        f"train.gradient_accumulation_steps={parts}",
    )
    resume.check_settings(now, run)
    if said is None:
        resume.check_prompts_per_step(now, run, processes)
    else:
        with pytest.raises(UserError, match=said):
            resume.check_prompts_per_step(now, run, processes)


@pytest.mark.parametrize("setting", ["train.max_steps=38", "train.num_train_epochs=1e-9"])
def test_fewer_steps_than_were_taken_are_refused(setting: str, begun: Path) -> None:
    steps = 38 if "max" in setting else 1
    with pytest.raises(UserError, match=r"has taken 39 already; give a larger one") as caught:
        resume.check_run(again(begun, setting), [], steps, 1)
    assert setting.partition("=")[0] in str(caught.value)


def test_a_finished_run_says_so_and_takes_no_settings_that_would_change_nothing(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume.check_finished(again(begun), begun, 39)
    said = "the run is finished: all its 39 steps are taken"
    assert capsys.readouterr().err.startswith(f"note: {said}; give a larger train.max_steps")
    with pytest.raises(UserError, match=f"{said}, and train.learning_rate would change none"):
        resume.check_finished(again(begun, "train.learning_rate=2"), begun, 39)
    # and a run without its model is not finished: it goes on to write that
    (begun / "final").mkdir()
    with pytest.raises(UserError, match="would change none"):
        resume.check_run(again(begun, "train.learning_rate=2"), [], 39, 1)


# Whole runs


@pytest.fixture(scope="module")
def longer(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The run of five steps by settings, never stopped, made once."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*more: str) -> Path:
        if more not in made:
            out = tmp_path_factory.mktemp("longer") / "run"
            five = short_run(model_folder("qwen2_vl"), out, *more, "train.max_steps=5")
            made[more] = learn([*five, "train.save_steps=0"])
        return made[more]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
@pytest.mark.parametrize("begun_steps", [2, 4])
def test_an_extended_run_has_the_rates_of_one_that_was_longer_from_the_start(
    method: str, begun_steps: int, settings: Settings, longer: Callable[..., Path]
) -> None:
    """With a constant rate the weights are the same too, bit for bit."""
    for schedule, warmup in (("linear", 0.5), ("constant", 0)):
        rate = (f"train.lr_scheduler_type={schedule}", f"train.warmup_ratio={warmup}")
        more = (f"algorithm={method}", *rate)
        long = longer(*more)
        short = learn(settings(f"short-{schedule}", *more, f"train.max_steps={begun_steps}"))
        assert cli.main(["train", "--resume", str(short), "train.max_steps=5"]) == 0
        rates = {run: rates_by_step(run) for run in (long, short)}
        assert [*rates[short]] == [1, 2, 3, 4, 5]
        assert {step: rate for step, rate in rates[short].items() if step > begun_steps} == {
            step: rate for step, rate in rates[long].items() if step > begun_steps
        }
        assert rates[short][begun_steps + 1] > 0
    assert same_weights(long, short)


def rates_by_step(run: Path) -> dict[int, float]:
    rows = read_metrics(run / "metrics.jsonl")
    return {row["step"]: row["learning_rate"] for row in rows if "learning_rate" in row}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_what_is_changed_in_mid_run_holds_from_the_next_step_on(
    method: str, settings: Settings, capsys: Capture
) -> None:
    run = learn(settings("run", f"algorithm={method}"))
    shutil.rmtree(run / "checkpoint-3")
    capsys.readouterr()
    change = [
        *("train.learning_rate=0.5", "train.lr_scheduler_type=constant", "train.max_steps=4"),
        *("train.weight_decay=0.25", "train.adam_beta1=0.5", "train.save_steps=0"),
        *("train.save_total_limit=null", "train.warmup_ratio=0", "train.logging_steps=2"),
    ]
    assert cli.main(["train", "--resume", str(run), "--dry-run", *change]) == 0
    out, _ = capsys.readouterr()
    assert "train.learning_rate: 0.001 -> 0.5 from step 3 on" in out
    configured = config.load(str(run / "config.yaml"), change)
    assert f"{plan_text(configured, run)}\n" == out.partition("next:\n")[0]
    assert not (run / "config-3.yaml").exists()
    assert cli.main(["train", "--resume", str(run), *change]) == 0
    assert "train.learning_rate: 0.001 -> 0.5 from step 3 on" in capsys.readouterr().err
    state = torch.load(run / "checkpoint-4" / "optimizer.pt", weights_only=True)
    decayed, rest = state["param_groups"]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.25, 0.0)
    assert decayed["betas"] == (0.5, 0.999)
    assert decayed["lr"] == decayed["initial_lr"] == 0.5
    # Not after step 3, and the one before is no longer deleted.
    assert [path.name for path in checkpoint.complete(run)] == ["checkpoint-2", "checkpoint-4"]
    assert [*rates_by_step(run)] == [1, 2, 4]
    assert config.load(str(run / "config-3.yaml")).train.learning_rate == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_finished_run_that_is_not_extended_stays_as_it_is(
    method: str, settings: Settings, tmp_path: Path
) -> None:
    run = learn(settings("run", f"algorithm={method}"))
    shutil.copytree(run, tmp_path / "copy")
    metrics = (run / "metrics.jsonl").read_text()
    assert cli.main(["train", "--resume", str(run)]) == 0
    assert same_weights(run, tmp_path / "copy")
    assert (run / "metrics.jsonl").read_text() == metrics


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_run_on_other_data_is_refused_and_left_alone(
    method: str, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = learn(settings("run", f"algorithm={method}", "train.max_steps=1"))
    import letters_task

    def fewer(self: Any, split: str) -> Any:
        return samples(self, split)[1:]

    samples = letters_task.Letters.samples
    monkeypatch.setattr(letters_task.Letters, "samples", fewer)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for dry in ([], ["--dry-run"]):
        capsys.readouterr()
        assert cli.main(["train", "--resume", str(run), "train.max_steps=2", *dry]) == 2
        message = capsys.readouterr().err
        assert "1 removed: 'train-0'" in message and "begin a new run" in message
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


ROW = {"images": ["p.png"], "question": "Which colour?", "answer": "red"}


@pytest.mark.slow
def test_a_plan_reads_the_model_that_the_run_goes_on_from(
    settings: Settings, model_folder: Callable[[str], Path], tmp_path: Path, capsys: Capture
) -> None:
    """The model that the run began with may have gone since."""
    shutil.copytree(model_folder("qwen2_vl"), tmp_path / "base")
    run = learn(settings("run", "train.max_steps=1", f"model={tmp_path / 'base'}"))
    shutil.rmtree(tmp_path / "base")
    for dry in (["--dry-run"], []):
        assert cli.main(["train", "--resume", str(run), "train.max_steps=2", *dry]) == 0
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_moved_run_takes_its_data_from_elsewhere_and_no_other_data(
    method: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write(folder: str, *answers: str) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (56, 56), "red").save(tmp_path / folder / "p.png")
        rows = [json.dumps(ROW | {"answer": answer}) + "\n" for answer in answers]
        (tmp_path / folder / "q.jsonl").write_text("".join(rows))

    write("old", "red", "blue")
    monkeypatch.chdir(tmp_path / "old")
    short = ("algorithm.num_generations=2",) if method == "gpg" else ()
    settings = ["model=demo", f"algorithm={method}", *short, "sampling.max_completion_length=4"]
    steps = ["train.max_steps=1", "train.output_dir=run", "train.canaries=false"]
    assert cli.main(["train", "--data", "q.jsonl", *settings, *steps]) == 0
    (tmp_path / "old").rename(tmp_path / "new")
    write("other", "red", "green")
    monkeypatch.chdir(tmp_path)
    go_on = ["train", "--resume", "new/run", "train.max_steps=2"]
    capsys.readouterr()
    assert cli.main(go_on) == 2
    assert "set task.data_dir to a file, a folder or a hub id" in capsys.readouterr().err
    assert cli.main([*go_on, "--data", "other/q.jsonl"]) == 2
    assert "1 with another question or answer" in capsys.readouterr().err
    assert cli.main([*go_on, "task.data_dir=new/q.jsonl"]) == 0
    assert f"q.jsonl -> {tmp_path / 'new' / 'q.jsonl'} from step 2" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run there"):
        train.train(replace(Config(), train=replace(Config().train, output_dir=str(tmp_path))),
                    resume=tmp_path)  # fmt: skip


# What the launch is


def test_a_run_without_a_checkpoint_goes_on_with_its_variables_of_the_template(
    tmp_path: Path, load_tiny: Callable[..., LoadedModel], model_folder: Callable[[str], Path]
) -> None:
    given = {"enable_thinking": False}
    made = config.load(None, [f"task={LETTERS}", f"train.output_dir={tmp_path / 'run'}",
                              f"model={model_folder('qwen3_5')}",
                              "model.chat_template_kwargs={enable_thinking: false}"])  # fmt: skip
    run_folder.claim(made)
    run = tmp_path / "run"
    processor = load_tiny("qwen3_5", chat_template_kwargs=given).processor
    launches.write(run, launches.today(1, "cpu", "float32", processor))
    resume.check_processor(made, run)
    other = replace(made, model=replace(made.model, chat_template_kwargs={"enable_thinking": True}))
    with pytest.raises(UserError, match="the chat template of"):
        resume.check_processor(other, run)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gpg", "sft"])
def test_a_resumed_run_compares_versions_and_what_reads_its_prompts(
    method: str, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version is printed; another chat template is refused, and nothing is written."""
    run = learn(settings("run", f"algorithm={method}", "train.max_steps=1"))
    former = replace(launches.read(run)[0], versions={"torch": "2.0.0"})
    launches.write(run, former)
    go_on = ["train", "--resume", str(run), "train.max_steps=2"]
    capsys.readouterr()
    assert cli.main([*go_on, "--dry-run"]) == 0
    assert f"torch: 2.0.0 -> {launches.version_of('torch')}" in capsys.readouterr().out
    template = run / "checkpoint-1" / "chat_template.jinja"
    kept = template.read_text()
    template.write_text(kept.replace("<|im_start|>", "<|im_start|> ", 1))
    manifest.write(run / "checkpoint-1")  # as one who knows of it would
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for dry in ([], ["--dry-run"]):
        assert cli.main([*go_on, *dry]) == 2
        message = capsys.readouterr().err
        assert "the chat template of" in message and message.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    template.write_text(kept)
    manifest.write(run / "checkpoint-1")
    assert cli.main(go_on) == 0
    assert "torch: 2.0.0 -> " in capsys.readouterr().err
    assert [row.step for row in launches.read(run)] == [1, 2]
