"""TRL's trainer under our settings: no step is taken on a loss or a gradient that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trl import SFTTrainer  # type: ignore[attr-defined]

from vrft.config.schema import Config, ModelConfig, TrainConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.sft import trainer


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    trainer.check_finite(0, "gradient's norm", 1.0)
    with pytest.raises(UserError, match="step 1: the gradient's norm is"):
        trainer.check_finite(0, "gradient's norm", value)


def told(loaded: LoadedModel, folder: Path, dtype: Any = "auto", **settings: Any) -> Any:
    config = Config(model=ModelConfig(dtype=dtype), train=replace(TrainConfig(), **settings))
    return trainer.arguments(config, folder, loaded, 40)


@pytest.mark.parametrize(("ratio", "steps"), [(0.0, 0), (0.01, 1), (0.5, 20), (1.0, 40)])
def test_a_warm_up_is_a_share_of_all_steps(
    ratio: float, steps: int, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    made = told(load_tiny("qwen2"), tmp_path, warmup_ratio=ratio)
    assert made.get_warmup_steps(40) == steps


@pytest.mark.parametrize(
    ("dtype", "half"), [("auto", False), ("float32", False), ("bfloat16", True)]
)
def test_fine_tuning_computes_in_the_dtype_of_the_model(
    dtype: str, half: bool, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    made = told(load_tiny("qwen2"), tmp_path, dtype)
    assert (made.bf16, made.fp16) == (half, False)


def test_transformers_has_the_methods_that_our_trainer_stands_in_for() -> None:
    """Under other names they would not be called: no share would be equal, no wait announced."""
    for name in (
        "_get_num_items_in_batch",
        "_get_train_sampler",
        "_load_from_checkpoint",
        "_maybe_log_save_evaluate",
        "_save_checkpoint",
        "training_step",
    ):
        assert name in vars(trainer.Trainer) and callable(getattr(SFTTrainer, name))
