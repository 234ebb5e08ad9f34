"""The schema: its defaults are valid, its names are those of TRL, and it is light to import."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from vrft.config import coercion, methods
from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import Config, TrainConfig

OURS = {
    *("max_tokens_per_micro_batch", "canaries", "strict", "log_token_logprobs"),
    *("log_completions_steps", "hang_timeout"),
    *("reward_timeout", "reward_memory", "max_missing_rewards", "math_verify_budget"),
}
DROPPED = {"warmup_ratio"}
"""Names that transformers had until its newest releases."""


def trl_defaults() -> dict[str, Any]:
    """The defaults of TRL's GRPO trainer by name, those of transformers' arguments among them."""
    from trl import GRPOConfig  # type: ignore[attr-defined]

    return {field.name: field.default for field in dataclasses.fields(GRPOConfig)}


def test_the_defaults_are_of_their_types_and_in_their_ranges() -> None:
    assert coercion.build(Config, coercion.to_plain(Config())) == Config()


def test_settings_cannot_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.seed = 1  # type: ignore[misc]


def test_a_setting_of_training_that_trl_has_too_bears_its_name() -> None:
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names - OURS - DROPPED <= trl_defaults().keys()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (TrainConfig, ["learning_rate", "lr_scheduler_type", "weight_decay", "adam_beta1",
                       "adam_beta2", "adam_epsilon", "max_grad_norm", "seed"]),
        (AlgorithmConfig, ["num_generations", "num_iterations", "epsilon", "beta"]),
    ],
)  # fmt: skip
def test_optimizer_and_objective_have_trls_defaults(section: type, names: list[str]) -> None:
    theirs = trl_defaults()
    assert {name: getattr(section(), name) for name in names} == {n: theirs[n] for n in names}


def test_the_settings_of_a_method_are_settings_of_the_algorithm() -> None:
    known = {field.name for field in dataclasses.fields(AlgorithmConfig)}
    assert all(row.differs.keys() <= known for row in methods.METHODS.values())


def test_epochs_give_the_number_of_steps_on_any_number_of_devices() -> None:
    train = TrainConfig(num_train_epochs=2.5, per_device_train_batch_size=3)
    config = Config(train=train)
    # 2.5 epochs of 24 samples are 60 prompts: 3 a step, then 2 x 3, 4 x 3 and 7 x 3
    assert [config.total_steps(24, n) for n in (1, 2, 4, 7)] == [20, 10, 5, 3]
    given = dataclasses.replace(config, train=dataclasses.replace(train, max_steps=0))
    assert given.total_steps(24, 1) == 0
    lessons = dataclasses.replace(config, algorithm=methods.method("sft"))
    assert lessons.total_steps(24, 7) == 5  # 2.5 epochs of 2 steps, of which none has 2 epochs


def test_importing_the_schema_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, vrft.config; print(*{'torch', 'transformers', 'accelerate'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
