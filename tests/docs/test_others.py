"""The page for those who come from another toolkit says TRL's defaults and ours, as they are."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fakes.folders import ROOT

from vrft import config
from vrft.config.schema import Config

trl = pytest.importorskip("trl")

PAGE = (ROOT / "docs" / "others.md").read_text(encoding="utf-8").partition("## Coming from ")[2]
DEFAULTS = re.findall(r"^\| `([\w.]+)` \| `([^`]+)`[^|]*\| `([^`]+)`[^|]*\|$", PAGE, re.MULTILINE)
COLUMNS = re.findall(r"^\| ([^|]+) \|(.*)\|$", PAGE, re.MULTILINE)


def default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def leaves(cls: type = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting by its path, with its default."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from leaves(typing.cast(type, hints[field.name]), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, default(field)


def of_trl() -> dict[str, Any]:
    """The defaults of TRL's trainer and of its adapters, by their names."""
    kinds = (trl.ModelConfig, trl.GRPOConfig)
    return {field.name: default(field) for kind in kinds for field in dataclasses.fields(kind)}


def test_the_page_speaks_of_the_release_that_is_installed() -> None:
    assert f"TRL {trl.__version__.rpartition('.')[0]} |" in PAGE


def test_the_defaults_of_the_table_are_ours_and_trls() -> None:
    ours, theirs = dict(leaves()), of_trl()
    assert len(DEFAULTS) > 10
    for path, here, there in DEFAULTS:
        assert (path, yaml.safe_load(here)) == (path, ours[path])
        assert (path, yaml.safe_load(there)) == (path, theirs[path.rpartition(".")[2]])


def test_every_setting_with_a_name_of_trl_and_another_default_is_in_the_table() -> None:
    theirs = of_trl()
    shared = {
        path: (value, theirs[name])
        for path, value in leaves()
        if path.startswith(("sampling.", "train.", "model.", "algorithm."))
        and (name := path.rpartition(".")[2]) in theirs
    }
    assert len(shared) > 40
    # Nothing is nothing, however it is written. Attention and dtype have values of their own.
    nothing = (None, "", 0, "none", (), {}, False)
    own = {"model.attn_implementation", "model.dtype", "algorithm.critic.entropy_coef"}
    other = {
        path
        for path, (here, there) in shared.items()
        if here != there and not (here in nothing and there in nothing) and path not in own
    }
    assert other == {path for path, _, _ in DEFAULTS}


def test_every_setting_that_the_page_names_is_one() -> None:
    known = dict(leaves())
    named = set(re.findall(r"`((?:train|algorithm|sampling|model)\.[\w.]+)", PAGE))
    assert len(named) > 20
    assert named - set(known) == set()


def settings_for(theirs: str) -> list[list[str]]:
    """Our settings beside a name of the page's table of objectives, each alternative apart."""
    (row,) = [right for left, right in COLUMNS if left == theirs]
    return [text.split() for text in re.findall(r"`(algorithm=[^`]+)`", row)]


@pytest.mark.parametrize(
    ("theirs", "token_mean", "beta", "high", "delta"),
    [
        ("TRL, `loss_type` `dapo`, its default", "global", 0.0, None, None),
        ("TRL, `grpo`", "sequence", 0.0, None, None),
        ("TRL, `dr_grpo`", "constant", 0.0, None, None),
        ("verl, `adv_estimator=grpo`", "global", 0.0, None, 3.0),
        ("EasyR1, `examples/config.yaml`", "global", 0.01, 0.3, 3.0),
    ],
)
def test_the_objectives_are_what_the_page_says(
    theirs: str, token_mean: str, beta: float, high: float | None, delta: float | None
) -> None:
    got = config.load(None, settings_for(theirs)[0]).algorithm
    assert (got.surrogate, got.f_norm, got.baseline) == ("clipped", "group_std", "group_mean")
    assert (got.token_mean, got.beta, got.epsilon_high, got.delta) == (
        token_mean,
        beta,
        high,
        delta,
    )


def test_every_loss_of_trl_is_on_the_page() -> None:
    told = trl.GRPOConfig.__doc__.partition("loss_type (")[2].partition("mask_truncated")[0]
    losses = re.findall(r'^ +- `"(\w+)"`', told, re.MULTILINE)
    assert {"dapo", "grpo", "dr_grpo"} <= set(losses)
    assert {loss for loss in losses if f"`{loss}`" not in PAGE} == set()
