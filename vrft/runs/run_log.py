"""The records of a run: metrics and completions in its folder, which its trackers get too."""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft.errors import UserError
from vrft.runs import tracked_rollouts, trackers
from vrft.runs.tracked_rollouts import RolloutGroup, Row
from vrft.runs.tracker_names import TrackerNames
from vrft.system import durable
from vrft.system.server_words import one_line

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

ESCAPED = "backslashreplace"
"""How the log holds half a surrogate pair, as ids may have: as an escape, which JSON reads back."""

BAD_PICTURES = "bad_pictures.jsonl"
"""The file in a run's folder that names the samples which it has left out."""

WARNINGS = "warnings.jsonl"
"""The file in a run's folder with a line for each warning of a canary or watchdog."""


class RunLog:
    """The log of one run: metrics.jsonl and completions/ in its folder, trackers if asked for.

    ``resume_step`` is the step of the checkpoint that a resumed run starts from; records of later
    steps are dropped, so that every step stands in the log once. ``settings`` are the flat
    hyper-parameters that each tracker shows beside the metrics. While the log is open, other
    libraries' progress bars are hidden, since the run shows its own. Raises UserError for a
    tracker that is unknown, not installed or does not start; one that fails later is warned of, and
    the run goes on.
    """

    def __init__(
        self,
        folder: Path,
        report_to: Sequence[str] = (),
        resume_step: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = folder / "metrics.jsonl"
        self.completions_dir = folder / "completions"
        self.unsynced: list[Path] = []
        wanted = trackers.check_trackers(report_to)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # Trackers first: a folder counts as a run's from its first metrics.jsonl on, and a
            # tracker that does not start (no login, no network) leaves the folder free.
            self.trackers: dict[str, GeneralTracker] = {}
            self.names = {name: TrackerNames(name) for name in wanted}
            for name in wanted:
                try:
                    tracker = trackers.start_tracker(name, folder, resume_step, settings or {})
                except Exception as error:  # of whatever kind: it comes from a library
                    raise UserError(
                        f"train.report_to={name}: does not start ({words_of(error)}); mend what it "
                        "says, or leave it out"
                    ) from error
                stack.callback(self.finish, name, tracker)
                self.trackers[name] = tracker
            if resume_step is not None:
                self.forget_after(resume_step)
            stack.enter_context(library_bars_hidden())
            stack.callback(self.sync)  # once the file is closed: no checkpoint follows the last row
            self.file = stack.enter_context(self.path.open("a", encoding="utf-8", errors=ESCAPED))
            # Last in, first out: the file is closed before a tracker is given a chance to fail.
            self.open = stack.pop_all()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl: step, time (seconds since 1970) and the values."""
        row = {"step": step, "time": round(time.time(), 3), **values}
        self.file.write(to_json(row) + "\n")
        self.file.flush()  # a killed run keeps every step but the one it was in
        for name, tracker in [*self.trackers.items()]:
            with self.going_on_without(name):
                tracker.log(self.names[name].of(values), step=step)

    def completions(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the completions of a step, one JSON object a line, to completions/<step>.jsonl."""
        self.completions_dir.mkdir(exist_ok=True)
        text = "".join(to_json(row, compact=True) + "\n" for row in rows)
        path = self.completions_dir / f"{step:06}.jsonl"
        path.write_text(text, encoding="utf-8", errors=ESCAPED)
        self.unsynced.append(path)

    def rollouts(
        self, step: int, rows: Sequence[Row], shown: Sequence[RolloutGroup], *, pictures: bool
    ) -> None:
        """Give the trackers histograms of a step's completions, and some groups to be looked at."""
        for name, tracker in [*self.trackers.items()]:
            with self.going_on_without(name):
                tracked_rollouts.log(tracker, step, rows, shown, pictures)

    @contextmanager
    def going_on_without(self, name: str) -> Iterator[None]:
        """Let a tracker that fails in the block get no more records, while the run goes on.

        A warning on standard error says so, once for each tracker.
        """
        try:
            yield
        # Of whatever kind: it comes from a library, its network or its server, and all that it
        # would have shown lies in the run's folder.
        except Exception as error:
            if self.trackers.pop(name, None) is not None:
                print(
                    f"warning: train.report_to={name}: {words_of(error)}; it gets no more of this "
                    f"run, whose records are in {self.path.parent}",
                    file=sys.stderr,
                )

    def finish(self, name: str, tracker: GeneralTracker) -> None:
        """Close a tracker; one that fails is told of, unless it has failed before."""
        with self.going_on_without(name):
            tracker.finish()

    def sync(self) -> None:
        """Wait until the records so far are on the disk, as they must be before a checkpoint is.

        A run that goes on from it would else have a gap in its records after a power cut.
        """
        named = [self.path.with_name(name) for name in (BAD_PICTURES, WARNINGS)]
        paths = [self.path, *named, *self.unsynced, self.completions_dir]
        for path in (*paths, self.path.parent):
            if path.exists():
                durable.sync(path)
        self.unsynced = []

    def close(self) -> None:
        """Close the files, then every tracker."""
        self.open.close()

    def forget_after(self, step: int) -> None:
        """Drop the records of steps after ``step``, and a line that a kill cut short."""
        for path in (self.path, *map(self.path.with_name, (BAD_PICTURES, WARNINGS))):
            if path.exists():
                rows = [row for row in read_metrics(path) if row["step"] <= step]
                text = "".join(to_json(row) + "\n" for row in rows)
                durable.write_text(path, text, errors=ESCAPED)
        for path in self.completions_dir.glob("*.jsonl"):
            # Files of other names, such as notes.jsonl, are the user's.
            if path.stem.isascii() and path.stem.isdigit() and int(path.stem) > step:
                path.unlink()


def words_of(error: Exception) -> str:
    """Return what an error of a library says in one line: its name, where it says nothing."""
    return one_line(str(error)) or type(error).__name__


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a metrics.jsonl, except a last line that a kill left without its end."""
    # As bytes, as a kill may have cut it within a letter.
    complete = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in complete]


def by_step(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each step, with the metrics of all of its rows.

    An evaluation and the loss of its step may be written one after the other, each with its own.
    """
    steps: dict[int, dict[str, Any]] = {}
    for row in rows:
        steps.setdefault(row["step"], {}).update(row)
    return list(steps.values())


def to_json(row: Mapping[str, Any], *, compact: bool = False) -> str:
    """Return a row as one line of JSON, with null for NaN and infinity, which JSON cannot write.

    A ``compact`` line has no spaces, which would be a third of a long list of small numbers.
    """
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False, separators=(",", ":") if compact else None)


@contextmanager
def library_bars_hidden() -> Iterator[None]:
    """Hide the progress bars of transformers, the hub and datasets within the block.

    Saving a checkpoint would draw one into the run's own bar. Whatever was shown before is shown
    again afterwards.
    """
    import huggingface_hub.utils
    from transformers.utils import logging as transformers_logging

    hub: Any = huggingface_hub.utils

    # Whether each library shows bars, and how to show and to hide them. transformers comes first:
    # its switch turns the hub's along, which is then put right by its own.
    switches = [
        (
            transformers_logging.is_progress_bar_enabled(),
            transformers_logging.enable_progress_bar,
            transformers_logging.disable_progress_bar,
        ),
        (
            not hub.are_progress_bars_disabled(),
            hub.enable_progress_bars,
            hub.disable_progress_bars,
        ),
    ]
    # A second to import, and without bars for whoever has not imported it.
    if (datasets := sys.modules.get("datasets")) is not None:
        shown = not datasets.are_progress_bars_disabled()
        switches.append((shown, datasets.enable_progress_bars, datasets.disable_progress_bars))

    def turn(calls: Iterable[Callable[[], None]]) -> None:
        with warnings.catch_warnings():
            # An environment variable of the user's that fixes the bars wins, with a warning.
            warnings.simplefilter("ignore", UserWarning)
            for call in calls:
                call()

    turn(hide for _, _, hide in switches)
    try:
        yield
    finally:
        turn(show if shown else hide for shown, show, hide in switches)
