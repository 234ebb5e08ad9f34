"""The record of a test's calls that bring files to the disk and give them their names."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class DiskCalls:
    """The calls of os.fsync, os.replace and Path.rename in order, which all still take place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path, Path]] = []
        self.unsynced: list[tuple[Path, Path]] = []
        """(folder or file that was renamed, file in it that was not on the disk by then)."""
        self.synced: dict[Path, int] = {}
        fsync, replace, rename = os.fsync, os.replace, Path.rename

        def sync(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.synced[path] = path.stat().st_mtime_ns
            self.calls.append(("sync", path, path))

        def move(old: Any, new: Any) -> None:
            self.look(Path(old))
            replace(old, new)
            self.follow(Path(old), Path(new))

        def move_path(path: Path, new: Any) -> Path:
            self.look(path)
            moved = rename(path, new)
            self.follow(path, Path(new))
            return moved

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "replace", move)
        monkeypatch.setattr(Path, "rename", move_path)

    def look(self, old: Path) -> None:
        """Note every file that is renamed, alone or in a folder, and was changed since its sync."""
        for path in [old, *old.rglob("*")]:
            if self.synced.get(path) != path.stat().st_mtime_ns:
                self.unsynced.append((old, path))

    def follow(self, old: Path, new: Path) -> None:
        """Note a rename, after which a file that was synced is so under its new name."""
        self.calls.append(("rename", old, new))
        for path in list(self.synced):
            if path.is_relative_to(old):
                self.synced[new / path.relative_to(old)] = self.synced.pop(path)

    def names(self, root: Path) -> list[tuple[str, str]]:
        """Return the calls with paths as they are from a folder."""
        return [
            (
                kind,
                str(old.relative_to(root))
                + (f" -> {new.relative_to(root)}" if kind == "rename" else ""),
            )
            for kind, old, new in self.calls
        ]


@contextmanager
def limit_of_files(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as a full disk does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
