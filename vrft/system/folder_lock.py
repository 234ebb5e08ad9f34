"""A lock on a folder, so that two processes never write into it at the same time.

The lock is flock's, on the file ``.lock`` in the folder, and the system lets go of it when its
process ends, however it ends. The file's text says who holds it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vrft.errors import UserError

try:
    import fcntl
except ImportError:  # not Unix
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"

WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""The errors of a file system that has no locks, as some that are mounted from a network."""


HELD: set[int] = set()
"""The descriptors by which this process holds locks."""


@contextmanager
def held(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing, for the length of the block.

    ``work`` says in a word or two what this process does there, such as "a training". Raises
    UserError that names the process, where another one holds the lock, and where the folder cannot
    be written. On a disk without locks the text of the file decides, and a line on standard error
    says so: processes of other machines are not noticed there.
    """
    path, owner = folder / NAME, os.getpid()
    descriptor = acquire(path)
    row = {"work": work, "pid": owner, "host": socket.gethostname(), "since": time.time()}
    HELD.add(descriptor)
    try:
        with suppress(OSError):  # a full disk: the lock holds, and names nobody
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(row).encode(), 0)
        yield
    finally:
        # A forked child that leaves this block too must not end what its parent holds.
        if os.getpid() == owner:
            with suppress(OSError):
                path.unlink()
            HELD.discard(descriptor)
            os.close(descriptor)


def check(folder: Path) -> None:
    """Raise UserError where ``held`` would: another process holds the lock, or no folder can be.

    Nothing is written.
    """
    check_place(folder)
    path = folder / NAME
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            lock(descriptor, path, shared=True)  # all processes of a launch may ask at once
        finally:
            os.close(descriptor)


def check_place(folder: Path) -> None:
    """Raise UserError where a folder can neither be written nor made; nothing is written."""
    for path in (folder.absolute(), *folder.absolute().parents):
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            if error.errno != errno.ENOENT or path.is_symlink():
                raise unusable(folder, error.strerror) from error
            continue  # it would be made in the folder above
        if not is_folder:
            raise unusable(folder, f"{path} is no folder")
        if not os.access(path, os.W_OK | os.X_OK):
            raise unusable(folder, f"{path} cannot be written")
        return


def unusable(folder: Path, reason: str | None) -> UserError:
    """Return the error for a folder that cannot be made or written."""
    return UserError(
        f"{folder}: cannot be made or written ({reason}); choose another folder, or see to it that "
        "this one can be written"
    )


def acquire(path: Path) -> int:
    """Return the descriptor that holds a lock; UserError where another process holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise unusable(path.parent, error.strerror) from error
        try:
            lock(descriptor, path)
            # The holder before may have deleted the file just now: that lock would keep nobody out.
            if is_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def lock(descriptor: int, path: Path, *, shared: bool = False) -> None:
    """Lock a file; raise UserError where another process has locked it."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no flock")
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        row = holder(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise refusal(path, row) from error
        if error.errno not in WITHOUT:
            raise
        if runs_here(row):
            raise refusal(path, row) from error
        print(
            f"note: the disk of {path.parent} has no locks ({error.strerror}): a process of "
            "another machine that writes there at the same time is not noticed",
            file=sys.stderr,
        )


def is_named(descriptor: int, path: Path) -> bool:
    """Return whether the file that is open as ``descriptor`` is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def holder(descriptor: int) -> dict[str, Any]:
    """Return what the file of a lock says of its holder, {} where it says nothing."""
    try:
        row = json.loads(os.pread(descriptor, 10_000, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def runs_here(row: Mapping[str, Any]) -> bool:
    """Return whether the process that a lock names runs on this machine."""
    number = row.get("pid")
    if type(number) is not int or number <= 0 or row.get("host") != socket.gethostname():
        return False
    try:
        os.kill(number, 0)  # 0 is no signal: it asks whether the process is there
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True


def refusal(path: Path, row: Mapping[str, Any]) -> UserError:
    """Return the error for a folder that another process holds."""
    words = [f"process {row['pid']} on {row.get('host')}"] if "pid" in row else []
    if isinstance(since := row.get("since"), float) and 0 <= since < 2**33:
        words.append(time.strftime("since %Y-%m-%d %H:%M:%S", time.localtime(since)))
    named = f" ({', '.join(words)})" if words else ""
    return UserError(
        f"{path.parent}: {row.get('work', 'another process')} writes there at this "
        f"moment{named}; wait for its end, stop it, or choose another folder"
    )


def close_inherited() -> None:
    """Close a forked child's copies of its parent's locks, which would outlive the parent."""
    for descriptor in HELD:
        os.close(descriptor)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=close_inherited)
