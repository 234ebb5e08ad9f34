"""Files whose bytes are on the disk before their name is, by the order of the system's calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.disk import DiskCalls

from vrft.system import durable


def test_a_file_is_synced_before_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = DiskCalls(monkeypatch)
    durable.write_text(tmp_path / "config.yaml", "seed: 1\n")
    assert calls.names(tmp_path) == [
        ("sync", ".config.yaml"), ("rename", ".config.yaml -> config.yaml"), ("sync", "."),
    ]  # fmt: skip
    assert (tmp_path / "config.yaml").read_text() == "seed: 1\n"


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write_text(tmp_path / "config.yaml", "old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        durable.write_text(tmp_path / "config.yaml", "new")
    assert (tmp_path / "config.yaml").read_text() == "old"


def test_folders_are_synced_from_the_innermost_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    calls = DiskCalls(monkeypatch)
    durable.sync_folders(tmp_path)
    assert calls.names(tmp_path) == [("sync", "a/b"), ("sync", "a"), ("sync", ".")]
