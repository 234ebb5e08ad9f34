"""A policy of standard shape, and a small server that speaks vLLM's protocol for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes import vllm_server as fake
from fakes.attached import served, standard_policy

from vrft.policy.policy import ModelPolicy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelPolicy:
    """A tiny policy with the head width of published models."""
    return standard_policy(tmp_path_factory.mktemp("standard"))


@pytest.fixture
def server(model: ModelPolicy) -> Iterator[tuple[str, fake.Answers]]:
    """The URL of a server of ``model``, and the answers that a test may change."""
    with fake.serving(served(model)) as running:
        yield running
