"""Rollouts of a server and their distance from the model, against a small HTTP server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import vllm_server as fake
from fakes.attached import SAMPLING, attached, encode

from vrft.engines.served import Address
from vrft.errors import UserError
from vrft.policy.policy import ModelPolicy


def test_the_address_is_that_of_the_server_and_its_model(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    assert engine.address == Address(server[0], engine.model, torch.float32)
    engine.close()


def test_log_probabilities_that_differ_are_told_or_end_a_strict_run(
    model: ModelPolicy,
    server: tuple[str, fake.Answers],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = attached(model, server[0], tmp_path, max_logprob_difference=None)
    engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert "log-probabilities differ" in capsys.readouterr().err
    engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert capsys.readouterr().err == ""  # once after each exchange of weights
    assert len(engine.differences) == 2 * 4 * 6
    engine.sync()
    engine.settings = replace(engine.settings, strict=True)
    with pytest.raises(UserError, match=r"max_logprob_difference=0\.0001"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()


@pytest.mark.parametrize(
    ("dtype", "given", "differences", "said"),
    [
        (torch.float32, None, [0.0, 2e-4], "max_logprob_difference=0.0001"),
        (torch.float32, None, [0.0, 1e-5], ""),
        # a bfloat16 logit between 16 and 32 has steps of 0.125: one token tells nothing
        (torch.bfloat16, None, [0.13, 0.01, 0.0, 0.0], ""),
        (torch.bfloat16, None, [0.13, 0.1, 0.0, 0.0], "0.057 on average (at most 0.13), more than"),
        # what is asked for is the largest in every precision
        (torch.bfloat16, 0.1, [0.13, 0.01, 0.0, 0.0], "max_logprob_difference=0.1"),
        (torch.bfloat16, 0.2, [0.13, 0.1, 0.13, 0.1], ""),
    ],
)
def test_rounding_explains_more_of_one_token_in_half_precision_than_of_their_mean(
    dtype: torch.dtype,
    given: float | None,
    differences: list[float],
    said: str,
    model: ModelPolicy,
    server: tuple[str, fake.Answers],
    tmp_path: Path,
) -> None:
    engine = attached(model, server[0], tmp_path, max_logprob_difference=given)
    engine.dtype, engine.differences = dtype, torch.tensor(differences)
    assert said in engine.excess() and bool(said) == bool(engine.excess())
    engine.close()
