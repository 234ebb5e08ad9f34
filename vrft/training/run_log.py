"""What a run says while it works: progress on the console, metrics and completions on disk."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vrft.errors import UserError


class RunLog:
    """The records of a run: metrics.jsonl and completions/ in its folder, trackers if asked for.

    ``resume_step`` is the step of the checkpoint that the run goes on from: what was recorded of
    later steps is dropped, so that the log has every step once. Raises UserError if the package
    of a tracker in ``report_to`` is not installed.
    """

    def __init__(
        self, folder: Path, report_to: Sequence[str] = (), resume_step: int | None = None
    ) -> None:
        self.path = folder / "metrics.jsonl"
        self.completions_dir = folder / "completions"
        folder.mkdir(parents=True, exist_ok=True)
        self.trackers = [TRACKERS[name](folder, resume_step) for name in report_to]
        if resume_step is not None:
            self.forget_after(resume_step)
        self.file = self.path.open("a", encoding="utf-8")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl: step, time (seconds since 1970) and the values."""
        row = {"step": step, "time": round(time.time(), 3), **values}
        self.file.write(to_json(row) + "\n")
        self.file.flush()
        for tracker in self.trackers:
            tracker.log(step, values)

    def completions(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the completions of a step, one JSON object a line, to completions/<step>.jsonl."""
        self.completions_dir.mkdir(exist_ok=True)
        text = "".join(to_json(row) + "\n" for row in rows)
        (self.completions_dir / f"{step:06}.jsonl").write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Close the files and the trackers."""
        self.file.close()
        for tracker in self.trackers:
            tracker.close()

    def forget_after(self, step: int) -> None:
        """Drop what was recorded of steps after ``step``, and a line cut short by a kill."""
        if self.path.exists():
            kept = [row for row in read_metrics(self.path) if row["step"] <= step]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(to_json(row) + "\n" for row in kept), encoding="utf-8")
            os.replace(temporary, self.path)
        for path in self.completions_dir.glob("*.jsonl"):
            if int(path.stem) > step:
                path.unlink()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line without its end, left by a kill, is skipped."""
    complete = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in complete]


def to_json(row: Mapping[str, Any]) -> str:
    """One line of JSON; numbers that are not finite become null, as JSON has no word for them."""
    return json.dumps({key: finite(value) for key, value in row.items()}, ensure_ascii=False)


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Tracker(Protocol):
    """A place outside the run folder that metrics also go to."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in <run>/tensorboard, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        module = optional("tensorboard", "torch.utils.tensorboard")
        purge = None if resume_step is None else resume_step + 1
        self.writer = module.SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of the project ``vrft`` on Weights & Biases, named and found again by its folder."""

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        name = folder.resolve().name
        resume = "allow" if resume_step is not None else None
        self.run = optional("wandb").init(
            project="vrft", dir=str(folder), name=name, id=name, resume=resume
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: Mapping[str, Callable[[Path, int | None], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def optional(package: str, module: str | None = None) -> Any:
    """An optional package's module; UserError that says how to install it if it is missing."""
    try:
        return importlib.import_module(module or package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"train.report_to={package}: the package {package} is not installed; "
            'run `pip install "vrft[log]"` or leave it out'
        ) from error
