"""Rows of parquet and Arrow files, a batch in memory at a time.

Numbers of classes become the names that the hub's metadata give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.records import class_names

# pyarrow is imported inside functions: it takes seconds, and few commands need it.

BATCH = 64
"""Rows that are in memory at a time."""


def read_rows(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the rows of a parquet or Arrow file with their numbers, a batch in memory at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            file = pyarrow.parquet.ParquetFile(path)
            schema, batches = file.schema_arrow, file.iter_batches(batch_size=BATCH)
        else:
            schema, batches = opened(path)
        labelled = class_names.with_classes(class_names.hub_features(schema.metadata))
        rows = (
            row
            for batch in batches
            for start in range(0, batch.num_rows, BATCH)
            for row in batch.slice(start, BATCH).to_pylist()
        )
        for number, row in enumerate(rows):
            yield class_names.name_classes(row, labelled), f"row {number}"
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        kind = path.suffix.removeprefix(".")
        raise UserError(f"{path}: not readable {kind} ({reason:.200}); fetch it again") from error


def opened(path: Path) -> tuple[Any, Iterable[Any]]:
    """Return the schema and the batches of an Arrow file, which stays on the disk."""
    import pyarrow.ipc

    content = pyarrow.memory_map(str(path))
    if bytes(content.read(6)) == b"ARROW1":  # the form with an index at its end
        indexed = pyarrow.ipc.open_file(content)
        return indexed.schema, (indexed.get_batch(n) for n in range(indexed.num_record_batches))
    content.seek(0)
    stream = pyarrow.ipc.open_stream(content)
    return stream.schema, stream
