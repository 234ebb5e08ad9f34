"""Tiny models of the true classes, built once per session, and pictures of several sizes."""

from __future__ import annotations

import gc
import os
import signal
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from vrft.models.loaded import LoadedModel

# In the background of a shell these are ignored, here and in all processes that a test starts.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

VISION_FAMILIES = ("qwen2_vl", "qwen2_5_vl")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, which frees nothing, and keep what is compiled.

    Libraries and thousands of tests are kept to the end: frozen, they are not walked through by
    each search for garbage among what a test makes. Compiled modules are written whatever the
    environment says, for the processes that tests start and for the next run; a module that a
    test writes is compiled as the environment says.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = before


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let texts be as wide as they need, wherever the tests are started from."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of a family, with random weights."""
    from vrft.demo import tiny

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tiny.write(tmp_path_factory.mktemp("models") / family, family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, empty at first, in which each data set of the demos is written once."""
    return tmp_path_factory.mktemp("demo-cache")


@pytest.fixture(scope="session")
def load_tiny(model_folder: Callable[[str], Path]) -> Callable[..., LoadedModel]:
    """A freshly loaded tiny model, with the settings of ModelConfig."""
    from vrft import models
    from vrft.config.schema import ModelConfig

    def load(family: str, *, train: bool = False, **settings: object) -> LoadedModel:
        config = ModelConfig(name=str(model_folder(family)), **settings)  # type: ignore[arg-type]
        return models.load_model(config, train=train, device="cpu")

    return load


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """A picture of noise of a given size, the same for the same seed."""

    def make(width: int = 56, height: int = 56, seed: int = 0) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(noise)

    return make
