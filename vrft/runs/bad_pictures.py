"""Samples whose pictures cannot be read, and what a run makes of them by ``data.on_bad_picture``.

``error`` ends the run at the first; ``skip`` puts the next sample of the stream into its place.
Only a PictureError counts: a prompt, answer or reward that cannot be used ends every run. The file
bad_pictures.jsonl in the run's folder has a line for each such sample, and metrics.jsonl their
number so far as ``data/bad_pictures``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object

from vrft.config.schema import Config
from vrft.errors import PictureError, UserError
from vrft.runs.run_log import BAD_PICTURES, read_metrics
from vrft.system.waiting import waiting

T = TypeVar("T")
R = TypeVar("R")

METRIC = "data/bad_pictures"

IN_A_ROW = 100
"""Bad samples one after the other that end a run: the folder of pictures has gone, and no random
tenth or half of the data is damaged in this way."""

SHOWN = 10
"""Bad samples that a run names on the console; the file in its folder has all."""


def refusal(id: str, error: PictureError) -> UserError:
    """Return the error of a sample that a run may not skip, which names the setting."""
    return UserError(f"sample {id!r}: {error}; data.on_bad_picture=skip goes on without it")


@dataclass
class BadPictures:
    """The samples of a run whose pictures could not be read: id -> reason, which names the file.

    ``skip`` tells whether the run goes on without them. ``reasons`` is the same on all devices;
    ``own`` are those that this device has met since they were last exchanged. The first
    ``written`` of the reasons stand in the run's folder.
    """

    skip: bool = False
    reasons: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    written: int = 0

    @classmethod
    def of(cls, config: Config) -> BadPictures:
        """Return those of a run that has met none, which may skip them as its settings say."""
        return cls(skip=config.data.on_bad_picture == "skip")

    def first_readable(
        self, samples: Iterable[T], name: Callable[[T], str], read: Callable[[T], R]
    ) -> tuple[T, R]:
        """Return the first sample that ``read`` can read, and its result; remember those before.

        Raises UserError for a bad picture that the run may not skip, and where IN_A_ROW samples,
        or all of fewer, are bad.
        """
        count, complaint = 0, "no sample was asked for"
        for sample in samples:
            try:
                return sample, read(sample)
            except PictureError as error:
                id = name(sample)
                complaint = f"sample {id!r}: {error}"
                if not self.skip:
                    raise refusal(id, error) from error
                if id not in self.reasons:
                    self.own.setdefault(id, str(error))
                count += 1
                if count == IN_A_ROW:
                    break
        raise UserError(
            f"{count} samples in a row have a picture that cannot be read, the last of them "
            f"{complaint}; data.on_bad_picture=skip is for a few, so look whether the folder of "
            "pictures is there"
        )

    def exchange(self, accelerator: Accelerator | None = None) -> dict[str, float]:
        """Tell every device what any of them has met; return the metric, of a run that may skip."""
        if not self.skip:
            return {}
        alone = accelerator is None or accelerator.num_processes == 1
        with waiting():
            devices = [self.own] if alone else gather_object([self.own])
        for device in devices:
            for id, reason in device.items():
                self.reasons.setdefault(id, reason)
        self.own = {}
        return {METRIC: float(len(self.reasons))}

    def write(self, folder: Path, step: int) -> list[str]:
        """Append the reasons that the folder's file has not, as of ``step``; return lines to print.

        Of the first SHOWN samples there is a line for each. Only the main process calls this.
        """
        fresh = list(self.reasons.items())[self.written :]
        if not fresh:
            return []
        with (folder / BAD_PICTURES).open("a", encoding="utf-8") as file:
            for id, reason in fresh:
                row = {"step": step, "sample_id": id, "reason": reason}
                file.write(json.dumps(row, ensure_ascii=True) + "\n")
        first, self.written = self.written, len(self.reasons)
        lines = [
            f"note: sample {id!r} is left out: {reason}" for id, reason in fresh[: SHOWN - first]
        ] if first < SHOWN else []  # fmt: skip
        if first < SHOWN < self.written:
            lines.append(f"note: all samples that are left out stand in {folder / BAD_PICTURES}")
        return lines

    def restore(self, folder: Path, step: int) -> None:
        """Take over the samples that a run had met when it had taken ``step`` steps."""
        path = folder / BAD_PICTURES
        rows = read_metrics(path) if path.is_file() else []
        self.reasons = {row["sample_id"]: row["reason"] for row in rows if row["step"] <= step}
        self.written = len(self.reasons)
