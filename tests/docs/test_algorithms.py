"""The page on algorithms has every row and every setting, and its settings do what it says."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from fakes.folders import ROOT
from torch import Tensor

from vrft import config
from vrft.config.methods import METHODS, AlgorithmConfig, method
from vrft.objectives import algorithms
from vrft.objectives.surrogates import Tokens, surrogate

PAGE = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")
ELSEWHERE = PAGE.partition("## GPG elsewhere")[2]


def section(name: str) -> str:
    """What the page says of a row, up to the next heading."""
    found = re.search(rf"^### `{name}`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_page_has_each_row_once_and_in_the_order_of_the_table() -> None:
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_has_its_papers_equation_and_ours_and_where_it_is_from(name: str) -> None:
    text = section(name)
    assert re.search(r"^    paper   \S", text, re.MULTILINE)
    assert re.search(r"^    ours    \S", text, re.MULTILINE)
    for source in re.findall(r"arXiv:\d+\.\d+", METHODS[name].source):
        assert source in text


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.differs])
def test_a_row_has_all_settings_in_which_it_differs(name: str) -> None:
    given = section(name).partition("Settings: ")[2]
    pairs = re.findall(r"`(\w+)=([^`]+)`", given)
    assert Counter(pairs) == Counter((k, str(v)) for k, v in METHODS[name].differs.items())
    loaded = config.load(None, [f"algorithm.{key}={value}" for key, value in pairs]).algorithm
    assert replace(loaded, name=name) == method(name)


def test_every_setting_of_the_objective_is_on_the_page() -> None:
    names = {field.name for field in dataclasses.fields(AlgorithmConfig)} - {"name"}
    assert {name for name in names if not re.search(rf"\b{name}\b", PAGE)} == set()


# What verl and TRL make of GPG

REWARDS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.5, 0.0, 1.0]])
LENGTHS = torch.tensor([[2.0, 5.0, 1.0], [3.0, 3.0, 4.0], [1.0, 2.0, 2.0], [4.0, 1.0, 5.0]])


def settings_of(place: int) -> AlgorithmConfig:
    """The settings of the table's last line: 0 is ours, 1 verl's, 2 TRL's."""
    (line,) = re.findall(r"^\| as settings here \|(.*)\|$", ELSEWHERE, re.MULTILINE)
    given = re.findall(r"`([^`]+)`", line.split("|")[place])
    loaded = config.load(None, given).algorithm
    return loaded


def slopes(config: AlgorithmConfig) -> Tensor:
    """Our gradient by the log-probability of any token of each answer: [B, G]."""
    logps = torch.zeros(4, 3, 5, requires_grad=True)
    mask = (torch.arange(5) < LENGTHS.unsqueeze(-1)).float()
    advantages = algorithms.advantages(REWARDS, config) * algorithms.alpha(REWARDS, config)
    weights = algorithms.token_weights(LENGTHS, config, 5).unsqueeze(-1)
    tokens = Tokens(logps, logps.detach(), advantages.unsqueeze(-1), mask)
    (found,) = torch.autograd.grad((surrogate(tokens, config) * mask * weights).sum(), logps)
    return found[:, :, 0]


def test_verls_gpg_is_ours_with_the_settings_of_the_table() -> None:
    # 6 of 12 rewards are not 0; r - mean of each group; a mean over all tokens
    centred = torch.tensor([[2, -1, -1], [0, 0, 0], [0, 0, 0], [0, -1.5, 1.5]]) / 3
    assert torch.allclose(slopes(settings_of(1)), -12 / 6 * centred / LENGTHS.sum())


def test_trls_gpg_is_ours_with_the_settings_of_the_table() -> None:
    # 2 of 4 groups are informative; each answer's tokens share 1 / 12
    centred = torch.tensor([[2, -1, -1], [0, 0, 0], [0, 0, 0], [0, -1.5, 1.5]]) / 3
    assert torch.allclose(slopes(settings_of(2)), -centred / LENGTHS / 12 / (2 / 4))


def test_the_papers_gpg_is_our_row_and_neither_of_them() -> None:
    assert settings_of(0) == method("gpg")
    named = [slopes(settings_of(place)) for place in range(3)]
    assert not torch.allclose(named[0], named[1]) and not torch.allclose(named[1], named[2])
