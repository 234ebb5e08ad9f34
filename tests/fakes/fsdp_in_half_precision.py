"""One process that FSDP2 shards in bfloat16: the types of what it returns and adds up.

    torch.distributed.run --nproc_per_node=1 fsdp_in_half_precision.py OUT.json

The file gets the values that the module returns, with the type of each, of its weight within a
pass, and of the gradients that two passes have added up before they are exchanged.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

LAUNCH = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
"""What ``accelerate launch`` sets for configs/accelerate/fsdp2.yaml, but for the layers to wrap."""


def main(out: Path) -> None:
    """Take two passes by the functions of a training run, one gradient each."""
    os.environ |= LAUNCH
    import torch
    from torch import Tensor, nn

    from vrft.config.schema import ModelConfig
    from vrft.processes import distributed

    class LogProbabilities(nn.Module):
        """A module whose values need float32."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.types: list[str] = []

        def forward(self, factor: float) -> Tensor:
            """Return a value that bfloat16 would round, and a gradient of ``factor``."""
            self.types.append(str(self.weight.dtype))
            return self.weight.float() * factor - 2.3456789

    accelerator = distributed.accelerator(ModelConfig(dtype="bfloat16"))
    inner = LogProbabilities()
    optimizer = torch.optim.SGD(inner.parameters(), lr=1.0)
    module, optimizer = distributed.prepare(accelerator, inner, optimizer, 1.0)
    # 1 + 2**-8: more digits than bfloat16 has, though each of the two is one of its numbers.
    for factor, last in ((1.0, False), (2**-8, True)):
        with distributed.accumulation(accelerator, module, last=last):
            returned = module(factor)
            accelerator.backward(returned.sum())
    optimizer.step()
    weights = distributed.state_dict(accelerator, module)
    assert weights is not None
    (stepped,) = weights.values()
    told = {
        "returned": returned.item(),
        "type": str(returned.dtype),
        "computes in": inner.types[0],
        "stepped": stepped.item(),
    }
    out.write_text(json.dumps(told))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
