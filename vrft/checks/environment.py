"""Versions, devices and a known trap of the installation: ``vrft env``, for bug reports."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

# Those whose versions change results or break runs; the optional ones come last.
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
    "tensorboard",
    "wandb",
)


def versions_and_devices() -> dict[str, str]:
    """Return names and values in the order in which to print them, missing packages included."""
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cpu cores": str(os.cpu_count()),
        **{name: installed(name) for name in PACKAGES},
        "torchvision": torchvision(),
        "devices": devices(),
    }


def installed(package: str) -> str:
    """Return the version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def torchvision() -> str:
    """Return torchvision's version and whether it loads.

    A torchvision built for another torch is the trap: transformers imports it wherever it is
    installed, and fails with it.
    """
    number = installed("torchvision")
    if number == "not installed":
        return "not installed (not needed)"
    try:
        # Its metadata look healthy; only the import shows that its operators do not fit.
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        return f"{number} BROKEN beside this torch ({reason}); run `pip uninstall torchvision`"
    return number


def devices() -> str:
    """Return the CUDA devices with their memory in GiB, or the reason why there are none."""
    try:
        # Here and not above: `vrft env` must also work where torch is what is broken.
        import torch
    except ImportError:
        return "torch is not installed"
    if not torch.cuda.is_available():
        return f"cpu only (torch was built for CUDA {torch.version.cuda or 'none'})"
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"{p.name} {p.total_memory / 2**30:.0f} GiB" for p in properties)
