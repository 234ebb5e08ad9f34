"""The declarations without which torchvision's published wheel does not load beside a CPU torch.

``torchvision_on_cpu.pth`` imports this module whenever Python starts in vLLM's environment. The
operators are declared right before torchvision is imported, and never called: vLLM takes only the
computation of picture sizes from transformers' modules that import torchvision.
"""

import sys
from importlib.abc import MetaPathFinder

OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class DeclareOperators(MetaPathFinder):
    """A finder that finds nothing, but learns that torchvision is about to be imported."""

    def find_spec(self, name, path=None, target=None):
        """Declare the operators once, and let the next finder look for the module."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator, schema in OPERATORS.items():
                torch.library.define(operator, schema)


sys.meta_path.insert(0, DeclareOperators())
