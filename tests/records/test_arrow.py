"""Rows of parquet and Arrow: names of classes, odd types, and damage."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from vrft.errors import UserError
from vrft.records import arrow


def read(path: Path) -> list[Any]:
    return [row for row, _ in arrow.read_rows(path)]


FEATURES = {
    "label": {"_type": "ClassLabel", "names": ["owl", "barn owl"]},
    "many": {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["up", "down"]}},
    "old": [{"_type": "ClassLabel", "names": ["up", "down"]}],
    "inside": {"kind": {"_type": "ClassLabel", "names": ["up", "down"]}, "n": {"_type": "Value"}},
    "objects": {
        "_type": "Sequence",
        "feature": {"kind": {"_type": "ClassLabel", "names": ["up", "down"]}},
    },
    "n": {"dtype": "int64", "_type": "Value"},
}
STORED = {"label": 1, "many": [0, 1], "old": [1], "inside": {"kind": 0, "n": 1},
          "objects": {"kind": [1, 0]}, "n": 1}  # fmt: skip
NAMED = {"label": "barn owl", "many": ["up", "down"], "old": ["down"],
         "inside": {"kind": "up", "n": 1}, "objects": {"kind": ["down", "up"]}, "n": 1}  # fmt: skip


def table(values: list[dict[str, Any]]) -> pyarrow.Table:
    metadata = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}
    return pyarrow.Table.from_pylist(values).replace_schema_metadata(metadata)


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_numbers_of_classes_become_names(kind: str, tmp_path: Path) -> None:
    stored = table([STORED, {**STORED, "label": None}, {**STORED, "label": -1}])
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        pyarrow.parquet.write_table(stored, path)
    else:
        new = pyarrow.ipc.new_stream if kind == "stream" else pyarrow.ipc.new_file
        with new(str(path), stored.schema) as writer:
            writer.write_table(stored)
    # No class is stored as null, or by the hub as -1.
    assert read(path) == [NAMED, {**NAMED, "label": None}, {**NAMED, "label": None}]


def test_a_number_without_a_class_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(table([{**STORED, "label": 2}]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not readable parquet \(class 2 of 2\)"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"info": {"features": []}}', b"\xff"])
def test_metadata_without_classes_leave_the_rows_as_they_are(
    content: bytes, tmp_path: Path
) -> None:
    plain = pyarrow.table({"label": [1]}).replace_schema_metadata({b"huggingface": content})
    pyarrow.parquet.write_table(plain, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"label": 1}]


def test_parquet_of_odd_types_is_read_or_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"n": [Decimal("3.0")]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"n": Decimal("3.0")}]
    # A time that Python's calendar does not have.
    far = pyarrow.array([2**62], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"t": far}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: not readable parquet"):
        read(tmp_path / "b.parquet")
