"""Refusals before a vLLM server is started: of settings, environments and models."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrft import launched, paths
from vrft.config.schema import Config
from vrft.engines import server
from vrft.engines.client import SUPPORTED, Client
from vrft.errors import UserError
from vrft.models import folders
from vrft.models.adapters import read_settings
from vrft.models.families import read_config
from vrft.policy.adapter_weights import served_rank
from vrft.policy.merged_weights import check_served

CPU_HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Sizes of attention heads that vLLM computes on a CPU; others end the engine at a request."""


def check(config: Config) -> None:
    """Raise UserError for settings and models with which no server can sample.

    Nothing is started; of vLLM's environment only the versions are asked for.
    """
    settings = config.rollout.vllm
    if bool(settings.url) == bool(settings.python):
        raise UserError(
            "rollout.engine=vllm: give either rollout.vllm.url of a running server, or "
            "rollout.vllm.python of an environment in which to start one"
        )
    if launched.several_machines():
        raise UserError(
            "rollout.engine=vllm: the run's processes are on several machines, and a server is "
            "given weights and asked on its own machine alone; launch them on one, or set "
            "rollout.engine=vrft"
        )
    if settings.python and config.algorithm.num_generations > settings.max_num_seqs:
        raise UserError(
            f"rollout.vllm.max_num_seqs={settings.max_num_seqs} is below algorithm.num_generations="
            f"{config.algorithm.num_generations}; raise it, as the server refuses such a group"
        )
    length = settings.max_model_length
    if length is not None and length <= config.sampling.max_completion_length:
        raise UserError(
            f"rollout.vllm.max_model_length={length} leaves no room for a prompt beside "
            f"sampling.max_completion_length={config.sampling.max_completion_length}; raise it"
        )
    if settings.lora == "adapter":
        served_rank(config.model)
    if folders.is_adapter(config.model.name):
        adapter = read_settings(Path(paths.model(config.model.name)))
        check_served(adapter, by_itself=settings.lora == "adapter")
    if settings.url:
        Client(settings.url)  # refuses what is no address
    cpu = bool(settings.python) and is_cpu(describe(settings.python))
    source = folders.base_of(paths.model(config.model.name))
    check_shape(read_config(source), server.server_dtype(config, cpu=cpu), cpu=cpu)


def describe(python: str) -> dict[str, str]:
    """Return the versions in vLLM's environment; raise UserError where it is none of ours."""
    where = f"rollout.vllm.python={python}"
    if not os.access(python, os.X_OK) or Path(python).is_dir():
        raise UserError(f"{where}: no such program; make an environment with vLLM {SUPPORTED} "
                        "(`make .venv-vllm/installed` for a CPU)")  # fmt: skip
    try:
        done = subprocess.run(
            [python, str(server.LAUNCHER), "describe"],
            env=server.environment({}), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        versions: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UserError(f"{where}: is no Python ({error}); name bin/python of vLLM's environment"
                        ) from error  # fmt: skip
    check_version(versions["vllm"], where)
    return versions


def check_version(version: str, where: str) -> None:
    """Raise UserError for a vLLM whose protocol is not known here."""
    if not version.startswith(SUPPORTED + "."):
        has = f"vLLM {version}" if version else "no vLLM"
        raise UserError(f"{where}: has {has}; install vLLM {SUPPORTED}, whose protocol vrft speaks")


def is_cpu(versions: Mapping[str, str]) -> bool:
    """Return whether an environment's vLLM is the build for CPUs."""
    return "cpu" in versions["distribution"] or "cpu" in versions["vllm"]


def check_shape(config: Any, dtype: str, *, cpu: bool) -> None:
    """Raise UserError for a model that vLLM would load and then die of.

    ``config`` is its transformers configuration, ``dtype`` the server's precision. The server would
    die at the first request, or with the first picture.
    """
    text = config.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if cpu and size not in CPU_HEADS:
        raise UserError(
            f"rollout.engine=vllm: the model's attention heads have {size} dimensions, and vLLM on "
            f"a CPU computes {', '.join(map(str, CPU_HEADS))}; set rollout.engine=vrft"
        )
    kinds = getattr(text, "layer_types", None) or ()
    if cpu and "linear_attention" in kinds and dtype != "bfloat16":
        raise UserError(
            "rollout.engine=vllm: vLLM on a CPU computes the model's linear attention in bfloat16 "
            f"alone, and model.dtype is {dtype}; set model.dtype=bfloat16 or rollout.engine=vrft"
        )
    sections = (getattr(text, "rope_parameters", None) or {}).get("mrope_section")
    if sections is not None and len(sections) != 3:
        raise UserError(
            f"rollout.engine=vllm: the model's mrope_section has {len(sections)} entries, and vLLM "
            "takes 3, for time, rows and columns; set rollout.engine=vrft"
        )
