"""The comparison of two run folders bit for bit, to show that a resumed run has lost nothing.

What a run leaves is compared in the order in which it was made: completions, metrics and checkpoint
of each step, then ``final`` and the other records. The first difference is the one that tells.
"""

from __future__ import annotations

import filecmp
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vrft.runs.run_log import read_metrics

METRICS = "metrics.jsonl"

UNCOMPARED = re.compile(
    # Settings name the folder itself, and a manifest the hashes of them; a launch is one start. The
    # logs of a server and of rewards hold what the killed run has printed, too.
    r"config(-\d+)?\.yaml|launches\.json|(.*/)?(manifest\.json|training_args\.bin)|\.lock"
    r"|console\.log|vllm\.log|rewards/[^/]+\.log"
)
"""The files of a run that need not be the same in another folder."""

TIMES = re.compile(r"(^|_|/)(time|seconds|runtime|p50|p99)$|_per_second$")
"""The metrics that a clock gives."""

STEP = re.compile(r"(?:completions/|checkpoint-)0*([0-9]+)(?:\.jsonl$|/)")
"""The step in the name of a file, from the run's folder."""

KINDS = (
    (re.compile(r"\.safetensors$"), "weights"),
    (re.compile(r"(^|/)optimizer[^/]*\.pt$"), "optimizer"),
    (re.compile(r"(^|/)scheduler\.pt$"), "schedule"),
    (re.compile(r"(^|/)rng_state[^/]*\.pth$"), "random states"),
    (re.compile(r"(^|/)trainer_state\.json$"), "progress"),
    (re.compile(r"(^|/)rollouts\.json$"), "rollouts ahead"),
    (re.compile(r"^completions/"), "completions"),
)
"""What a file holds, by its name."""

ORDER = ("weights", "optimizer", "schedule", "random states", "progress", "rollouts ahead",
         "metrics", "completions", "other records")  # fmt: skip
"""Every kind, in the order in which a message lists them."""


@dataclass
class Count:
    """The amount of one kind that was compared: files, bytes, and the tensors or rows in them."""

    files: int = 0
    bytes: int = 0
    items: int = 0


@dataclass(frozen=True)
class Difference:
    """A place in which two runs differ, with both values in words; ``step`` is None after all."""

    step: int | None
    place: str
    first: str
    second: str


@dataclass
class RunDifference:
    """The first difference of two runs, None where they are the same, and what was compared."""

    difference: Difference | None = None
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    times: set[str] = field(default_factory=set)
    """The metrics that were left out, as a clock gives them."""


def compare(first: Path, second: Path) -> RunDifference:
    """Compare two run folders up to their first difference.

    Times, settings and what names the folder itself are left out.
    """
    comparison = RunDifference()
    for difference in differences(first, second, comparison):
        comparison.difference = difference
        break
    return comparison


def differences(first: Path, second: Path, comparison: RunDifference) -> Iterator[Difference]:
    """Yield where two runs differ, in the order of their steps; note what has been compared."""
    runs = (first, second)
    rows = [rows_by_step(run / METRICS, comparison) for run in runs]
    names: dict[int | None, set[str]] = defaultdict(set)
    for name in {*files_of(first), *files_of(second)}:
        names[step_of(name)].add(name)
    for step in sorted({step for step in (*names, *rows[0], *rows[1]) if step is not None}):
        saved = {name for name in names[step] if name.startswith("checkpoint")}
        # Completions first: everything else of a step follows from them.
        for name in sorted(names[step] - saved):
            yield from file_difference(runs, name, comparison)
        yield from row_difference(step, rows[0].get(step, []), rows[1].get(step, []))
        for name in sorted(saved):
            yield from file_difference(runs, name, comparison)
    for name in sorted(names[None]):
        yield from file_difference(runs, name, comparison)
    orders = [[row["step"] for row in read_metrics(run / METRICS)] for run in runs]
    if orders[0] != orders[1]:
        yield Difference(None, f"{METRICS}, order of steps", shown(orders[0]), shown(orders[1]))


def files_of(run: Path) -> list[str]:
    """Return the names of a run's files that are compared as files, from its folder."""
    paths = (path for path in run.rglob("*") if path.is_file())
    names = [path.relative_to(run).as_posix() for path in paths]
    return [name for name in names if name != METRICS and not UNCOMPARED.fullmatch(name)]


def step_of(name: str) -> int | None:
    """Return the step that a file belongs to by its name, None for one of the whole run."""
    match = STEP.match(name)
    return int(match[1]) if match else None


def rows_by_step(path: Path, comparison: RunDifference) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of metrics.jsonl of each step, without times."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not path.is_file():
        return rows
    count = comparison.counts["metrics"] = Count(1, path.stat().st_size)
    for row in read_metrics(path):
        comparison.times |= {name for name in row if TIMES.search(name)}
        rows[row["step"]].append({k: v for k, v in row.items() if not TIMES.search(k)})
        count.items += 1
    return rows


def row_difference(step: int, first: list[Any], second: list[Any]) -> Iterator[Difference]:
    """Yield where the metrics of a step differ: a gap, a repeated row, or a value."""
    if len(first) != len(second):
        counts = (f"{len(rows)} row(s)" for rows in (first, second))
        yield Difference(step, METRICS, *counts)
    for pair in zip(first, second, strict=False):
        if (difference := tree_difference(*pair)) is not None:
            path, one, other = difference
            yield Difference(step, f"{METRICS}, {path}", one, other)


def file_difference(
    runs: tuple[Path, Path], name: str, comparison: RunDifference
) -> Iterator[Difference]:
    """Yield where a file of two runs differs; a file of the same bytes does not."""
    step, paths = step_of(name), [run / name for run in runs]
    if not all(path.is_file() for path in paths):
        words = ["there" if path.is_file() else "missing" for path in paths]
        yield Difference(step, name, words[0], words[1])
        return
    contents = [read(path, run) for path, run in zip(paths, runs, strict=True)]
    kind = next((kind for pattern, kind in KINDS if pattern.search(name)), "other records")
    count = comparison.counts[kind]
    count.files += 1
    count.bytes += paths[0].stat().st_size
    count.items += len(contents[0]) if name.endswith(".jsonl") else tensors(contents[0])
    if filecmp.cmp(paths[0], paths[1], shallow=False):
        return
    if (difference := tree_difference(*contents)) is not None:
        path, one, other = difference
        yield Difference(step, ", ".join(part for part in (name, path) if part), one, other)


def read(path: Path, run: Path) -> Any:
    """Return what a file holds as a tree of tensors and values, in which the run has no name."""
    match path.suffix:
        case ".safetensors":
            return Weights(path)
        case ".pt" | ".pth":
            with torch.serialization.safe_globals(numpy_classes()):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        case ".json" | ".jsonl":
            text = path.read_text(encoding="utf-8", errors="backslashreplace")
            text = text.replace(str(run), "RUN").replace(str(run.resolve()), "RUN")
            if path.suffix == ".json":
                return json.loads(text)
            return [json.loads(line) for line in text.split("\n") if line]
    return path.read_bytes()


class Weights(Mapping[str, Tensor]):
    """The tensors of a safetensors file by name, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        file: Any = safe_open(path, framework="pt")
        self.file, self.names = file, sorted(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self.file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def numpy_classes() -> list[Any]:
    """Return the classes in which NumPy's random state is saved, all of them mere data."""
    core = getattr(np, "_core", None) or np.core  # its name before NumPy 2
    return [np.ndarray, np.dtype, type(np.dtype(np.uint32)), core.multiarray._reconstruct]


def tensors(content: Any) -> int:
    """Return how many tensors are in a tree."""
    if isinstance(content, Tensor | np.ndarray):
        return 1
    if isinstance(content, Weights):
        return len(content)
    if isinstance(content, Mapping):
        return sum(map(tensors, content.values()))
    return sum(map(tensors, content)) if isinstance(content, list | tuple) else 0


def tree_difference(first: Any, second: Any, path: str = "") -> tuple[str, str, str] | None:
    """Return the place and both values, in words, in which two trees differ first; None if none.

    A place is written as in Python's own ``state.0.exp_avg[3, 5]``.
    """
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return tensor_difference(first, second, path)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(key for key in second if key not in first)]:
            place = f"{path}.{key}" if path else str(key)
            if key not in first or key not in second:
                words = ["there" if key in tree else "missing" for tree in (first, second)]
                return place, words[0], words[1]
            if (found := tree_difference(first[key], second[key], place)) is not None:
                return found
        return None
    if isinstance(first, list | tuple) and type(first) is type(second):
        for number, pair in enumerate(zip(first, second, strict=False)):
            if (found := tree_difference(*pair, f"{path}[{number}]")) is not None:
                return found
        if len(first) != len(second):
            return f"{path} (length)", str(len(first)), str(len(second))
        return None
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return tensor_difference(torch.from_numpy(first), torch.from_numpy(second), path)
    # By their texts, in which NaN is NaN, and -0.0 is not 0.0.
    if type(first) is not type(second) or repr(first) != repr(second):
        return path, shown(first), shown(second)
    return None


def tensor_difference(first: Tensor, second: Tensor, path: str) -> tuple[str, str, str] | None:
    """Return the first element in which the bits of two tensors differ, None where none does."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        kinds = [f"{tensor.dtype} {list(tensor.shape)}" for tensor in (first, second)]
        return path, kinds[0], kinds[1]
    bits = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second)]
    if torch.equal(*bits):
        return None
    byte = int((bits[0] != bits[1]).nonzero()[0])
    index = np.unravel_index(byte // first.element_size(), tuple(first.shape) or (1,))
    values = [repr(tensor.reshape(-1)[byte // first.element_size()].item())
              for tensor in (first, second)]  # fmt: skip
    return f"{path}[{', '.join(map(str, index))}]", values[0], values[1]


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut to a length that fits a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
