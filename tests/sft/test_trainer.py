"""TRL's trainer under our settings: no step is taken on a loss or a gradient that is not finite."""

from __future__ import annotations

import math

import pytest
from trl import SFTTrainer  # type: ignore[attr-defined]

from vrft.errors import UserError
from vrft.sft import trainer


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    trainer.check_finite(0, "gradient's norm", 1.0)
    with pytest.raises(UserError, match="step 1: the gradient's norm is"):
        trainer.check_finite(0, "gradient's norm", value)


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
