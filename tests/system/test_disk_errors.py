"""A disk that takes no more is one line; every other error stays what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from vrft.errors import UserError
from vrft.system import disk_errors


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_full_disk_is_one_line_with_a_remedy(number: int, hidden: bool, tmp_path: Path) -> None:
    half = tmp_path / ".checkpoint-4"
    half.mkdir()
    with pytest.raises(UserError) as caught, disk_errors.explained(tmp_path, 2 * 10**9, half):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            if hidden:  # as torch hides it
                raise RuntimeError("unexpected pos 64 vs 0") from error
            raise
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}: cannot be written ({os.strerror(number)}; 2 GB are needed")
    assert disk_errors.REMEDIES[number] in said and "\n" not in said
    assert not half.exists()


def test_torch_tells_of_a_full_disk(tmp_path: Path) -> None:
    """/dev/full is a disk without room."""
    (tmp_path / "full").symlink_to("/dev/full")
    with (
        pytest.raises(UserError, match="No space left"),
        disk_errors.explained(tmp_path),
        (tmp_path / "full").open("wb") as file,
    ):
        torch.save({"w": torch.zeros(100_000)}, file)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory"),
        FileNotFoundError(errno.ENOENT, "no such file", "a.png"),
        PermissionError(errno.EACCES, "permission denied", "/elsewhere/a.png"),
    ],
)
def test_other_errors_keep_their_traceback(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)), disk_errors.explained(tmp_path, discard=tmp_path):
        raise error
    assert tmp_path.is_dir()


@pytest.mark.parametrize("place", ["a/b/metrics.jsonl", "a/b", "a"])
def test_a_file_of_the_folder_without_the_right_to_write_is_one_line(
    place: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "b"
    error = PermissionError(errno.EACCES, "permission denied", str(tmp_path / place))
    with pytest.raises(UserError, match="Permission denied"), disk_errors.explained(folder):
        raise error
