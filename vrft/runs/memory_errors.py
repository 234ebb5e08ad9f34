"""Full memory, of a GPU or of the machine: told in one line, with what makes a step smaller."""

from __future__ import annotations

import re

from vrft.system.server_words import one_line

FULL = re.compile(r"(?:CUDA|HIP|XPU|MPS backend) out of memory|DefaultCPUAllocator: ")
"""How torch says that memory is full; the class of the error differs by device and version."""

LONGEST = 160
"""Characters of torch's own words in the line: how much was asked for, and is free."""

REMEDY = (
    "`vrft plan` with the same settings says what a step needs; less is taken by a smaller "
    "model.max_pixels or sampling.max_completion_length, by model.lora.r=8 or "
    "model.gradient_checkpointing=true, and by an evaluation with a smaller --batch-size"
)


def line_of(error: BaseException) -> str | None:
    """Return an error of full memory in one line; None for any other error."""
    if not isinstance(error, MemoryError | RuntimeError):
        return None
    said = FULL.search(str(error))
    if said is None and not isinstance(error, MemoryError):
        return None
    words = one_line(str(error)[said.start() :]) if said else "Python got no more"
    return f"out of memory ({words[:LONGEST].rstrip(' .')}); {REMEDY}"
