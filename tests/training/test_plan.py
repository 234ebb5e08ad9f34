"""The check of a dry run refuses what the run refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes.bigram import CONFIG, Echo, with_algorithm
from fakes.folders import FAKES, RECORDS

from vrft import config, progress
from vrft.checks.samples import check_questions
from vrft.errors import PictureError, UserError
from vrft.rewards import with_rewards
from vrft.sft import fine_tune
from vrft.training import plan, train
from vrft.training.plan_text import plan_text

LETTERS = FAKES / "letters_task.py"


def test_greedy_sampling_is_refused_in_training() -> None:
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, temperature=0.0))
    with pytest.raises(UserError, match="alike"):
        plan.check_settings(config, {"share": None})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_generations": 1}, "num_generations=1: gpg compares the answers to one prompt"),
        ({"num_mini_batches": 7}, "num_mini_batches=7: a device has fewer prompts"),
    ],
)
def test_a_method_that_cannot_work_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan.check_settings(with_algorithm(CONFIG, **settings), {"share": None})


def test_an_unknown_reward_weight_is_refused_with_the_nearest_name() -> None:
    config = with_algorithm(CONFIG, reward_weights={"shore": 1.0})
    with pytest.raises(UserError, match="shore: the task has no such reward; did you mean 'share'"):
        plan.check_settings(config, {"share": None})


def test_a_reward_has_one_weight() -> None:
    rewards = ("my_rewards.py:brief=0.5",)
    same = with_algorithm(CONFIG, rewards=rewards, reward_weights={"brief": 0.5})
    plan.check_settings(same, {"share": None, "brief": None})
    other = with_algorithm(CONFIG, rewards=rewards, reward_weights={"brief": 2.0})
    with pytest.raises(
        UserError, match=r"reward_weights.brief=2, but --reward gives it the weight"
    ):
        plan.check_settings(other, {"share": None, "brief": None})


def test_fine_tuning_takes_no_rewards() -> None:
    config = with_algorithm(CONFIG, name="sft", rewards=("my_rewards.py:brief",))
    with pytest.raises(UserError, match="algorithm=sft learns from reference answers"):
        plan.check_settings(config, {})


@pytest.mark.parametrize("value", ["0.5", math.nan, [1.0], None.__class__])
def test_a_reward_that_is_no_number_for_an_empty_answer_is_refused_before_the_run(
    value: Any,
) -> None:
    class Giving(Echo):
        def rewards(self) -> Any:
            return {"given": lambda sample, completion: value}

    task = Giving()
    with pytest.raises(UserError, match="reward 'given', sample 'train-0': got"):
        plan.try_rewards(task, task.samples("train"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_may_be_missing_for_an_empty_answer_is_noted_and_not_refused(
    value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    task = with_rewards(Echo(), {"given": lambda sample, completion: value}, "none")
    plan.try_rewards(task, task.samples("train"))
    assert "note: given gives no finite number for an empty answer" in capsys.readouterr().err


def test_an_evaluation_on_what_is_trained_on_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    samples = Echo().samples("train")
    plan.note_trained_on(samples, Echo().samples("val"), "val")
    # The same number in another file is another sample.
    plan.note_trained_on(samples, [replace(samples[0], question="another")], "test")
    assert capsys.readouterr().err == ""
    plan.note_trained_on(samples, samples[:2], "test")
    said = capsys.readouterr().err
    assert said.startswith("note: 2 of the 2 samples of eval.split=test are trained on")


REFUSED = [
    (["sampling.temperature=0"], "sampling.temperature=0 makes all answers of a group alike"),
    (["algorithm.num_generations=1"], "algorithm.num_generations=1: gpg compares"),
    (["algorithm.reward_weights.nope=1"], "algorithm.reward_weights.nope: the task has no such"),
    (["algorithm.num_mini_batches=3"], "algorithm.num_mini_batches=3: a device has fewer prompts"),
    (
        ["task=lisa_grounding", f"task.data_dir={RECORDS / 'reasonseg'}", "eval.split=nowhere"],
        "no split 'nowhere'",
    ),
    (["task.nope=1"], "unknown setting task.nope"),
    (["train.report_to=[tensorbord]"], "unknown tracker 'tensorbord'"),
    (["algorithm.rewards=[nowhere.py:brief]"], "no reward file nowhere.py"),
    ([f"algorithm.rewards=[{LETTERS}:different]"], "does not take `completions`"),
    ([f"algorithm.rewards=[{LETTERS}:diverse]"], "no function 'diverse'; did you mean"),
    (["train.adam_beta1=1"], "train.adam_beta1=1: a mean"),
    (["train.output_dir=/dev/null"], "/dev/null: cannot be made or written"),
    (["train.output_dir=/dev/null/x/y"], "/dev/null/x/y: cannot be made or written"),
    (["model.freeze_language_model=true", "model.freeze_vision_tower=true"], "everything is"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_the_dry_run_refuses_what_the_run_refuses_and_neither_makes_a_folder(
    settings: list[str], message: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    wanted = [f"task={LETTERS}", f"model={model_folder('qwen2_vl')}", f"train.output_dir={folder}"]
    configured = config.load(None, [*wanted, *settings])
    errors = []
    for start in (plan_text, train.train):
        with pytest.raises(UserError, match=re.escape(message)) as refused:
            start(configured)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]
    assert not folder.exists()


@pytest.mark.parametrize("algorithm", ["gpg", "sft"])
@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("half \ud83d", r"half a character"),
        ("an end<|im_end|>", r"the special token <\|im_end\|>"),
    ],
)
def test_a_prompt_that_a_later_step_would_meet_is_refused_by_both(
    algorithm: str, question: str, said: str, tmp_path: Path
) -> None:
    rows = [{"id": "a", "question": "How many?", "answer": 3},
            {"id": "b", "question": question, "answer": 3}]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["task=math", f"task.data_dir={tmp_path / 'rows.jsonl'}", "model=demo",
                f"algorithm={algorithm}", f"train.output_dir={tmp_path / 'run'}"]  # fmt: skip
    configured = config.load(None, settings)
    for start in (plan_text, (fine_tune if algorithm == "sft" else train).train):
        with pytest.raises(UserError, match=rf"^sample 'b': .*{said}"):
            start(configured)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_by_both(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("metrics.jsonl", "config.yaml"):
        (tmp_path / name).write_text("")
    wanted = [f"task={LETTERS}", f"model={model_folder('qwen2_vl')}"]
    configured = config.load(None, [*wanted, f"train.output_dir={tmp_path}"])
    for start in (plan_text, train.train):
        with pytest.raises(UserError, match="holds another run"):
            start(configured)
    (tmp_path / "metrics.jsonl").rename(tmp_path / "checkpoint-500")  # as of another trainer
    for start in (plan_text, train.train):
        with pytest.raises(UserError, match=r"holds checkpoint-500, config\.yaml of another"):
            start(configured)


def test_sft_in_float16_is_refused() -> None:
    half = replace(CONFIG, model=replace(CONFIG.model, dtype="float16"))
    with pytest.raises(UserError, match=r"model\.dtype=float16: algorithm=sft computes in"):
        plan.check_settings(with_algorithm(half, name="sft"), {})


@pytest.mark.parametrize("engine", ["DEEPSPEED", "FSDP"])
def test_sft_by_an_engine_that_shards_is_refused(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(UserError, match="algorithm=sft holds all weights in every process"):
        plan.check_settings(with_algorithm(CONFIG, name="sft"), {})


def test_prompts_that_take_long_to_check_show_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Echo()
    samples = task.samples("train")
    plan.check_prompts(task, samples, "train")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(plan, "with_progress", partial(progress.with_progress, patience=0.0))
    plan.check_prompts(task, samples, "train")
    assert "prompts of 'train': 24/24" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")  # one process of a launch speaks for all
    plan.check_prompts(task, samples, "train")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("skip", [False, True])
def test_a_prompt_that_cannot_be_made_for_want_of_a_picture_passes_where_it_is_skipped(
    skip: bool,
) -> None:
    class Gone(Echo):
        def prompt(self, sample: Any) -> Any:
            if sample.id == "train-3":
                raise PictureError("3.png: no such picture")
            return super().prompt(sample)

    task = Gone()
    said = (
        r"^sample 'train-3': 3\.png: no such picture; data\.on_bad_picture=skip goes on without it$"
    )
    with nullcontext() if skip else pytest.raises(UserError, match=said):
        plan.check_prompts(task, task.samples("train"), "train", skip=skip)


@pytest.mark.parametrize("mark", ["<|im_end|>", "\ud83d"])
def test_an_answer_that_no_model_can_write_is_refused_by_run_and_check(mark: str) -> None:
    class Odd(Echo):
        def reference(self, sample: Any, views: Any) -> str:
            return f"a{mark}" if sample.id == "train-1" else "a"

    task = Odd()
    samples = task.samples("train")
    with pytest.raises(UserError, match=r"^sample 'train-1': the answer 'a.* remove it from"):
        plan.check_prompts(task, samples, "train")
    (problem,) = check_questions(task, samples).problems
    assert problem.ids == ("train-1",)
