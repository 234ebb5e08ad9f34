"""TRL's trainer under our settings: no step is taken on a loss or a gradient that is not finite."""

from __future__ import annotations

import math

import pytest

from vrft.errors import UserError
from vrft.sft import trainer


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    trainer.check_finite(0, "gradient's norm", 1.0)
    with pytest.raises(UserError, match="step 1: the gradient's norm is"):
        trainer.check_finite(0, "gradient's norm", value)
