"""What a run says while it works: progress on the console, metrics and completions on disk."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from vrft.errors import UserError


class Progress(Protocol):
    """What ``progress`` yields."""

    def advance(self, n: int = 1) -> None:
        """``n`` more of the total are done."""

    def note(self, text: str) -> None:
        """A short text to show beside the progress from now on."""


@contextmanager
def progress(
    total: int,
    description: str,
    *,
    done: int = 0,
    stream: TextIO | None = None,
    interval: float = 15.0,
) -> Iterator[Progress]:
    """Progress with rate and time left: a bar on a terminal, else a line every ``interval`` s.

    ``done`` of ``total`` are finished already and do not count for the rate; ``stream`` is
    standard error unless given.
    """
    stream = stream or sys.stderr
    if stream.isatty():
        with bar(total, description, done, stream) as shown:
            yield shown
    else:
        lines = Lines(total, description, done, stream, interval)
        try:
            yield lines
        finally:
            lines.finish()


class Lines:
    """Progress as plain lines, for log files and pipes."""

    def __init__(
        self,
        total: int,
        description: str,
        done: int = 0,
        stream: TextIO = sys.stderr,
        interval: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.description, self.stream = total, description, stream
        self.done = self.first = done
        self.interval, self.clock = interval, clock
        self.started = self.written = clock()
        self.text, self.pending = "", False

    def advance(self, n: int = 1) -> None:
        self.done += n
        self.pending = True
        if self.clock() - self.written >= self.interval:
            self.write()

    def note(self, text: str) -> None:
        self.text = text

    def finish(self) -> None:
        """Write the last state, unless it is written already."""
        if self.pending:
            self.write()

    def write(self) -> None:
        self.written, self.pending = self.clock(), False
        seconds = self.written - self.started
        line = progress_line(
            self.description, self.done, self.total, self.done - self.first, seconds
        )
        print(f"{line}  {self.text}".rstrip(), file=self.stream, flush=True)


def progress_line(description: str, done: int, total: int, fresh: int, seconds: float) -> str:
    """One line of progress; ``fresh`` items took ``seconds``, which gives the rate."""
    line = f"{description}: {done}/{total}"
    if not fresh or seconds <= 0:
        return line
    rate = fresh / seconds
    left = duration(max(total - done, 0) / rate)
    return f"{line}  {rate:.2f}/s  {left} left" if done < total else f"{line}  {rate:.2f}/s"


def duration(seconds: float) -> str:
    """Seconds as ``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def bar(total: int, description: str, done: int, stream: TextIO) -> Iterator[Progress]:
    """Progress as a rich bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=Console(file=stream)) as display:
        task = display.add_task(description, total=total, completed=done, rate="", note="")

        class Bar:
            def advance(self, n: int = 1) -> None:
                display.advance(task, n)
                speed = display.tasks[0].speed
                display.update(task, rate=f"{speed:.2f}/s" if speed else "")

            def note(self, text: str) -> None:
                display.update(task, note=text)

        yield Bar()


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
