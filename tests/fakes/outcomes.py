"""Outcomes of tests of faults, as properties of their junit XML.

``python benchmarks/reliability/faults.py`` makes a table of them. A test tells its outcome when it
has asserted it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

Record = Callable[[str, object], None]


def compared(
    record: Record, fault: str, engine: str, first: Path, second: Path, start: Path | None = None
) -> None:
    """Tell the largest difference of a weight of the ``final`` of two runs.

    Also how far the first run has moved a weight from the model ``start``, where that is given.
    """
    record("fault", fault)
    record("engine", engine)
    record("difference", apart(first / "final", second / "final"))
    if start is not None:
        record("moved", apart(start, first / "final"))


def ended(record: Record, fault: str, engine: str, end: str) -> None:
    """Tell in words how a run has ended that could not go on."""
    record("fault", fault)
    record("engine", engine)
    record("end", end)


def apart(first: Path, second: Path) -> float:
    """Return the largest difference of a weight of two folders of the same weights."""
    names = sorted(path.name for path in first.glob("*.safetensors"))
    assert names, first
    distances = []
    for name in names:
        one, other = load_file(first / name), load_file(second / name)
        assert one.keys() == other.keys()
        distances += [float((one[key].double() - other[key].double()).abs().max()) for key in one]
    return max(distances)
