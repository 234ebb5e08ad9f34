"""Settings that a run would ignore are refused, and shipped configurations have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.folders import FAKES

from vrft import config, paths
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.models import folders
from vrft.runs import unused_settings
from vrft.training import plan


def settings(*given: str) -> Config:
    return config.load(None, [f"task={FAKES / 'letters_task.py'}", "model=demo", *given])


ADAPTER = "without model.lora.r there is no adapter, and all weights are trained; set model.lora.r"
EVALUATION = "without eval.split nothing is evaluated while training"

UNUSED = [
    ("model.lora.lora_alpha=64", f"model.lora.lora_alpha=64: {ADAPTER}"),
    ("model.lora.lora_dropout=0.1", f"model.lora.lora_dropout=0.1: {ADAPTER}"),
    ("model.lora.target_modules=[q_proj]", f"model.lora.target_modules=['q_proj']: {ADAPTER}"),
    ("train.eval_steps=1", f"train.eval_steps=1: {EVALUATION}"),
    ("eval.limit=3", f"eval.limit=3: {EVALUATION}"),
    ("eval.batch_size=3", f"eval.batch_size=3: {EVALUATION}"),
]


@pytest.mark.parametrize(("given", "message"), UNUSED)
def test_a_setting_that_would_be_ignored_is_refused_with_what_it_needs(
    given: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan.check(settings(given))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    unused_settings.check(settings(given, "model.lora.r=8", "eval.split=val"))


def test_lessons_take_no_budget_of_tokens() -> None:
    budget = "train.max_tokens_per_micro_batch=600"
    unused_settings.check(settings(budget))
    with pytest.raises(UserError, match="micro_batch=600: algorithm=sft passes"):
        unused_settings.check(settings(budget, "algorithm=sft"))


def test_a_constant_rate_takes_no_warm_up() -> None:
    constant = "train.lr_scheduler_type=constant"
    with pytest.raises(UserError, match=r"^train\.warmup_ratio=0\.9: .*=constant_with_warmup, or"):
        plan.check(settings(constant, "train.warmup_ratio=0.9"))
    unused_settings.check(settings(f"{constant}_with_warmup", "train.warmup_ratio=0.9"))


def test_a_best_checkpoint_needs_evaluations_before_the_last() -> None:
    given = ("eval.split=val", "train.metric_for_best_model=different")
    message = (
        r"^train\.metric_for_best_model=different: with train\.eval_steps=0 the last step alone"
    )
    with pytest.raises(UserError, match=message):
        plan.check(settings(*given))
    plan.check(settings(*given, "train.eval_steps=1"))
    # It may have a best one from the time before its settings were changed.
    unused_settings.check(settings(*given), fresh=False)


def test_settings_of_an_adapter_that_is_trained_on_are_compared_with_it(tmp_path: Path) -> None:
    """vrft.models.loading does so, once it is loaded."""
    (tmp_path / folders.ADAPTER).write_text("{}")
    unused_settings.check(settings(f"model={tmp_path}", "model.lora.lora_alpha=64"))


def test_a_resumed_run_goes_on_with_what_it_began_with() -> None:
    """Settings of an adapter cannot change within a run, and its warm-up may be over."""
    unused_settings.check(settings("model.lora.lora_alpha=64"), fresh=False)
    constant = settings("train.lr_scheduler_type=constant", "train.warmup_ratio=0.5")
    unused_settings.check(constant, fresh=False)
    with pytest.raises(UserError, match=EVALUATION):
        unused_settings.check(settings("eval.limit=3"), fresh=False)


@pytest.mark.parametrize("name", paths.names("configs"))
def test_shipped_configurations_have_no_setting_that_is_ignored(name: str) -> None:
    unused_settings.check(config.load(name, ["model=demo"]))


SERVED = ("rollout.engine=vllm", "rollout.vllm.url=http://127.0.0.1:8000")


@pytest.mark.parametrize("given", ["url=http://127.0.0.1:8000", "python=p", "strict=True"])
def test_settings_of_a_server_without_one_are_refused(given: str) -> None:
    with pytest.raises(UserError, match=rf"^rollout\.vllm\.{given}: is for rollout\.engine=vllm"):
        plan.check(settings(f"rollout.vllm.{given}"))


@pytest.mark.parametrize(
    "given",
    ["devices=7", "restarts=1", "arguments=['--seed', '3']", "max_num_seqs=128",
     "tensor_parallel_size=2", "gpu_memory_utilization=0.5"],
)  # fmt: skip
def test_a_running_server_is_not_given_what_a_started_one_is(given: str) -> None:
    name = given.partition("=")[0]
    wrong = settings(*SERVED, f"rollout.vllm.{given}")
    with pytest.raises(UserError, match=rf"^rollout\.vllm\.{name}=.*: a running server was given"):
        unused_settings.check(wrong)
    started = ("rollout.engine=vllm", "rollout.vllm.python=p", f"rollout.vllm.{given}")
    unused_settings.check(settings(*started))
    # Resumed on a running server, a run has left the one that it began with.
    unused_settings.check(wrong, fresh=False)


def test_a_running_server_is_waited_for_and_held_to_limits_of_the_run() -> None:
    limits = ("timeout=60", "start_timeout=60", "strict=true", "max_model_length=900",
              "max_logprob_difference=0.1")  # fmt: skip
    unused_settings.check(settings(*SERVED, *(f"rollout.vllm.{each}" for each in limits)))
