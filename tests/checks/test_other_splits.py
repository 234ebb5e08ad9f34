"""The splits beside the one that is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.checks import other_splits


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (["train.jsonl", "test.jsonl"], ["test"]),
        (["train/a.jpg", "val/a.jpg", "data/test-00000-of-00001.parquet"], ["val", "test"]),
        (["train.csv", "coco_validation.json", "dev_small.csv"], ["validation", "dev"]),
        # no data, another word, and the split itself
        (["train.jsonl", "test.txt", "latest.jsonl", "testimony.csv", "train_test"], []),
    ],
)
def test_splits_are_known_by_their_names(
    entries: list[str], names: list[str], tmp_path: Path
) -> None:
    for entry in entries:
        (tmp_path / entry).parent.mkdir(exist_ok=True)
        (tmp_path / entry).touch()
    assert other_splits.beside(str(tmp_path), "train") == names
    assert "test" not in other_splits.beside(str(tmp_path), "test")


@pytest.mark.parametrize("data_dir", [None, "org/set", "demo", "rows.jsonl"])
def test_what_is_no_folder_has_none(
    data_dir: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").touch()
    assert other_splits.beside(data_dir, "train") == []
