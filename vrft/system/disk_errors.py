"""Full disks, limits and folders without the right to write: one line instead of a traceback.

The libraries that write weights tell of a full disk in their own ways: safetensors by the number in
the text of its error, torch by an OSError that another error hides.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from vrft.errors import UserError

REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`)",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "see to it that the folder can be written",
    errno.EPERM: "see to it that the folder can be written",
    errno.EIO: "look after the disk",
    errno.ESTALE: "mount the disk again",
}
"""Number of an error of the system's -> what the user does about it."""

NUMBER = re.compile(r"os error ([0-9]+)")


RESUME = "and go on with `vrft train --resume`: what was saved before is undamaged"
"""The end of the line for the folder of a run."""


@contextmanager
def explained(
    folder: Path, needed: int = 0, discard: Path | None = None, *, then: str = RESUME
) -> Iterator[None]:
    """Raise UserError for a disk that takes no more of what the block writes into a folder.

    The line names the folder, the reason and, where known, the bytes ``needed`` and free; then
    the half-written folder ``discard`` is deleted, which makes room for another trial. The line
    ends in ``then``, what to do next. Every other error stays what it is.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        cause = disk_error(error, folder)
        if cause is None:
            raise
        if discard is not None:
            shutil.rmtree(discard, ignore_errors=True)
        raise UserError(
            f"{folder}: cannot be written ({os.strerror(cause)}{room(folder, needed)}); "
            f"{REMEDIES[cause]}, {then}"
        ) from error


def line(error: OSError) -> str:
    """Return in a line that a disk takes no more of what a command writes; "" for other errors.

    ``explained`` knows the folder; this is for what lies in none, such as the printed output.
    """
    if error.errno not in FULL:
        return ""
    place = error.filename if isinstance(error.filename, str) else "the output"
    return f"{place}: cannot be written ({os.strerror(error.errno)}); {REMEDIES[error.errno]}"


def disk_error(error: BaseException, folder: Path) -> int | None:
    """Return the number of the system's error behind an error, None unless it is one of a disk.

    Where the right to read or write is missing, the file must be one below ``folder``.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        number = link.errno if isinstance(link, OSError) else None
        if isinstance(link, SafetensorError) and (match := NUMBER.search(str(link))):
            number = int(match[1])
        if number in REMEDIES and (number in FULL or is_below(link, folder)):
            return number
    return None


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The errors that tell of a disk, and not of one file."""


def is_below(error: BaseException, folder: Path) -> bool:
    """Return whether the file that an error names lies in, beside or on the way to a folder.

    An error of safetensors names none.
    """
    name = getattr(error, "filename", None)
    if not isinstance(name, str):
        return isinstance(error, SafetensorError)
    path, place = Path(name).absolute(), folder.absolute()
    return path.is_relative_to(place.parent) or place.is_relative_to(path)


def room(folder: Path, needed: int) -> str:
    """Return the bytes that are needed and free on a folder's disk, in words."""
    words = [f"; {needed / 1e9:.3g} GB are needed"] if needed else []
    with suppress(OSError):
        place = folder if folder.is_dir() else folder.parent
        words.append(f"; {shutil.disk_usage(place).free / 1e9:.3g} GB are free")
    return "".join(words)
