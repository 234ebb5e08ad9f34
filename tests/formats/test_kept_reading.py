"""The last reading of a split: kept while nothing changes, and let go when samples are made."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from vrft import registry
from vrft.config.schema import TaskConfig
from vrft.formats import kept_reading


def test_a_command_reads_its_data_once(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"question": "Q", "answer": "A"}\n', encoding="utf-8")
    os.utime(file, (10**9, 10**9))
    first = kept_reading.read(tmp_path, "train")
    assert kept_reading.read(tmp_path, "train") is first
    # another question, and the rows themselves, are read anew
    assert kept_reading.read(tmp_path, "train", limit=1) is not first
    again = kept_reading.read(tmp_path, "train")
    assert again is not first
    kept_reading.forget()
    assert kept_reading.read(tmp_path, "train") is not again


def test_changed_data_are_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    answers = []
    # written just now, twice with the same time and size, and later with another time
    for answer, age in (("A", 0), ("B", 0), ("C", 100), ("D", 99)):
        file.write_text(json.dumps({"question": "Q", "answer": answer}) + "\n", encoding="utf-8")
        os.utime(file, (time.time() - age, time.time() - age))
        answers.append(kept_reading.read(file, "train").rows[0].answer)
    assert answers == ["A", "B", "C", "D"]


def test_rows_leave_one_by_one_as_samples_are_made_of_them(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    lines = [json.dumps({"question": "Q", "answer": str(number)}) for number in range(3)]
    file.write_text("\n".join(lines), encoding="utf-8")
    os.utime(file, (10**9, 10**9))
    passing = kept_reading.passing(kept_reading.read(file, "train"))
    assert not kept_reading.LAST
    assert [(row.answer, len(passing)) for row in passing] == [("0", 2), ("1", 1), ("2", 0)]


def test_samples_leave_no_rows_behind(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"question": "Q", "answer": "A"}\n', encoding="utf-8")
    os.utime(file, (10**9, 10**9))
    task = registry.build(TaskConfig("vqa", {"data_dir": str(file)}))
    task.describe("train")  # type: ignore[attr-defined]
    assert kept_reading.LAST
    assert len(task.samples("train")) == 1
    assert not kept_reading.LAST
