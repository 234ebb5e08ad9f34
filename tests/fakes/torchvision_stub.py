"""A torchvision for one picture that needs no resizing, where the real one is not installed.

transformers asks only whether the package is there, and its processors for a few functions.
"""

from __future__ import annotations

from pathlib import Path

FUNCTIONAL = """
import torch
from torchvision.transforms import InterpolationMode


def pil_to_tensor(image):
    import numpy
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1)


def resize(image, size, interpolation=None, antialias=True):
    wanted = (size.height, size.width) if hasattr(size, "height") else tuple(size)
    assert tuple(image.shape[-2:]) == wanted, "the stub resizes nothing"
    return image


def normalize(image, mean, std, inplace=False):
    mean, std = (torch.as_tensor(v).to(image).view(-1, 1, 1) for v in (mean, std))
    return (image - mean) / std
"""

MODES = ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")

FILES = {
    "__init__.py": '__version__ = "0.28.0"\n',
    "io.py": "class ImageReadMode:\n    RGB = None\n\n\ndef decode_image(*_):\n    raise OSError\n",
    "transforms/__init__.py": f"import enum\n\nInterpolationMode = enum.Enum('Mode', {MODES})\n",
    "transforms/functional.py": FUNCTIONAL,
    "transforms/v2/__init__.py": "",
    "transforms/v2/functional.py": FUNCTIONAL,
}


def write(folder: Path) -> Path:
    """Write the package into a folder, for PYTHONPATH, and return the folder."""
    for name, text in FILES.items():
        path = folder / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
