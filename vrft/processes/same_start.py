"""Processes of one launch begin with the same settings and the same data, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate import Accelerator

from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation.fingerprint import digest
from vrft.processes import exchange
from vrft.runs import data_fingerprint
from vrft.types import Sample


def check_same(accelerator: Accelerator, config: Config, samples: Sequence[Sample[Any]]) -> None:
    """Raise UserError, in all processes, unless they have the same settings and samples.

    Samples are compared in order, by ids, questions, gold answers and pictures, as far as the
    fingerprint of a run knows pictures.
    """
    if accelerator.num_processes == 1:
        return
    settings = {path: value for path, value in flat(config).items() if path != "train.output_dir"}
    rows = data_fingerprint.rows_of(samples, times=False)
    if len(set(exchange.gather_objects(accelerator, [digest([settings, rows])]))) == 1:
        return
    # Only now are they exchanged: they may be millions.
    main_settings, main_rows = exchange.from_main(accelerator, (settings, rows))
    said = different_settings(main_settings, settings)
    said += data_fingerprint.differences(main_rows, rows)
    lines = exchange.gather_objects(accelerator, ["; ".join(said)])
    rank, line = next((rank, line) for rank, line in enumerate(lines) if line)
    raise UserError(
        f"process {rank} does not see what process 0 sees: {line}; give all machines the same "
        "files and command"
    )


def different_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the settings of two processes that differ, such as ``train.seed is 7 and not 42``."""
    return [
        f"{path} is {now.get(path)!r} and not {before.get(path)!r}"
        for path in dict.fromkeys([*before, *now])
        if now.get(path) != before.get(path)
    ]
