"""Processes in which races are run beside each other, one thread in each."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from concurrent.futures import Executor, ProcessPoolExecutor

import torch
from transformers.utils.logging import disable_progress_bar

MOST = 2
"""Lanes at most: more would share one memory bus, and both sides read their weights over it."""


def count(device: str) -> int:
    """How many races are run beside each other: one on a GPU."""
    return min(MOST, os.cpu_count() or 1) if device == "cpu" else 1


def opened(device: str) -> Executor:
    """The lanes; tasks wait for one that is free in the order in which they were submitted."""
    return ProcessPoolExecutor(
        count(device),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=settle,
    )


def settle() -> None:
    """One thread, and of the libraries' own words only what matters."""
    torch.set_num_threads(1)
    disable_progress_bar()
    # TRL calls what transformers has renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
