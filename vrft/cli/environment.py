"""What ``vrft env`` prints: versions, devices and the known trap, for a bug report."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "vrft",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "peft",
    "datasets",
    "tokenizers",
    "numpy",
    "pillow",
    "qwen-vl-utils",
    "deepspeed",
    "wandb",
    "tensorboard",
)


def versions_and_devices() -> dict[str, str]:
    """Names and values in the order to print them; a package that is missing says so."""
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cpu cores": str(os.cpu_count()),
        **{name: installed(name) for name in PACKAGES},
        "torchvision": torchvision(),
        "devices": devices(),
    }


def installed(package: str) -> str:
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def torchvision() -> str:
    """torchvision's version and whether it loads: a broken one takes transformers down with it."""
    found = installed("torchvision")
    if found == "not installed":
        return "not installed (not needed)"
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        return f"{found} BROKEN beside this torch ({reason}); run `pip uninstall torchvision`"
    return found


def devices() -> str:
    """The CUDA devices with their memory, or why there are none."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if not torch.cuda.is_available():
        return f"cpu only (torch was built for CUDA {torch.version.cuda or 'none'})"
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"{p.name} {p.total_memory / 2**30:.0f} GiB" for p in properties)
