"""A further process samples from the main one's server, and leaves its life to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fakes import vllm_server as fake
from fakes.numbers_server import numbers

from vrft import policy
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config, ModelConfig
from vrft.engines.client import ServerFailure
from vrft.engines.guest import VllmGuest
from vrft.engines.served import Address
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=6)
CONFIG = Config(
    model=ModelConfig(dtype="float32"),
    sampling=SAMPLING,
    # a guest has the main process's settings, but starts nothing
    rollout=RolloutConfig(
        "vllm", VllmConfig(python="none", max_logprob_difference=1e3, restarts=3)
    ),
)


@pytest.fixture(scope="module")
def model(model_folder: Callable[[str], Path]) -> ModelPolicy:
    return policy.load(ModelConfig(name=str(model_folder("qwen2")), dtype="float32"), device="cpu")


@pytest.fixture
def server() -> Iterator[tuple[str, fake.Answers]]:
    with fake.serving(numbers) as running:
        yield running


def test_a_guest_samples_and_compares_and_sends_no_weights(
    model: ModelPolicy, server: tuple[str, fake.Answers]
) -> None:
    url, answers = server
    guest = VllmGuest(CONFIG, model, Address(url, "served", torch.float32))
    encoded = model.encode([Prompt("one"), Prompt("two")])
    groups = guest.sample(encoded, 3, SAMPLING, [1, 2])
    assert [[len(r.tokens) for r in group] for group in groups] == [[6] * 3] * 2
    assert len(guest.differences) == 2 * 3 * 6
    before = guest.differences
    guest.sample(encoded[:1], 1, SAMPLING, [1])
    assert guest.differences is before  # compared once for each exchange of weights
    guest.sync()
    guest.sample(encoded[:1], 1, SAMPLING, [1])
    assert len(guest.differences) == 6
    assert {path for path, _ in answers.asked} <= {"/inference/v1/generate", "/metrics"}
    guest.close()
    assert guest.sample(encoded[:1], 1, SAMPLING, [1])  # the server is not the guest's to end


def test_a_failing_server_is_the_main_processs_to_start_again(
    model: ModelPolicy, server: tuple[str, fake.Answers]
) -> None:
    url, answers = server
    guest = VllmGuest(CONFIG, model, Address("http://127.0.0.1:9", "served", torch.float32))
    encoded = model.encode([Prompt("one")])
    with pytest.raises(ServerFailure, match="no answer"):
        guest.sample(encoded, 1, SAMPLING, [1])
    guest.visit(Address(url, "again", torch.float32))
    assert guest.sample(encoded, 1, SAMPLING, [1])
    assert answers.asked[0][1]["model"] == "again"
