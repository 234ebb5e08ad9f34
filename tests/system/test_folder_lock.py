"""A folder is written by one process at a time, and a killed one lets go of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fakes.processes import wait_until

from vrft.errors import UserError
from vrft.system import folder_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from vrft.system import folder_lock
with folder_lock.held(Path(sys.argv[1]), "an evaluation"):
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(60)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder until its input ends, in a session of its own."""
    command = [sys.executable, "-c", HOLDER, str(folder), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def hold(folder: Path) -> None:
    with folder_lock.held(folder, "a training"):
        pass


def test_the_second_is_refused_by_name_and_may_begin_when_the_first_has_ended(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "new" / "run"
    with another(folder) as first:
        for ask in (hold, folder_lock.check):
            with pytest.raises(UserError) as caught:
                ask(folder)
            said = f"{folder}: an evaluation writes there at this moment (process {first.pid} on "
            assert str(caught.value).startswith(said + socket.gethostname())
            assert "\n" not in str(caught.value)
        first.communicate("")
        hold(folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("arguments", [(), ("fork",)], ids=["alone", "with a forked child"])
def test_a_killed_process_lets_go(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with another(tmp_path, *arguments) as first:
        first.kill()
        first.wait()
        assert (tmp_path / folder_lock.NAME).read_text()  # it could not delete the file
        wait_until(lambda: is_free(tmp_path))  # a child closes its copy when it first runs
        hold(tmp_path)


def is_free(folder: Path) -> bool:
    try:
        folder_lock.check(folder)
    except UserError:
        return False
    return True


def test_asking_writes_nothing(tmp_path: Path) -> None:
    folder_lock.check(tmp_path)
    folder_lock.check(tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "\0" * 9, '{"pid": "1"}', '{"pid": -1}'])
def test_a_lock_file_of_nobody_is_taken(text: str, tmp_path: Path) -> None:
    (tmp_path / folder_lock.NAME).write_text(text)
    hold(tmp_path)


@pytest.mark.parametrize("alive", [True, False])
def test_without_locks_a_living_process_of_this_machine_is_noticed(
    alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           stdout=subprocess.PIPE, check=True)  # fmt: skip
    pid = os.getpid() if alive else int(ended.stdout)
    row = {"work": "a training", "pid": pid, "host": socket.gethostname(), "since": 1.0}
    (tmp_path / folder_lock.NAME).write_text(json.dumps(row))
    if alive:
        with pytest.raises(UserError, match=f"process {pid} on"):
            hold(tmp_path)
        row["host"] = "elsewhere"  # nobody here can know whether it runs
        (tmp_path / folder_lock.NAME).write_text(json.dumps(row))
    hold(tmp_path)
    assert "has no locks (No locks available)" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/run: cannot be made or written \(Not a directory\)"):
        hold(tmp_path / "file" / "run")


def test_asking_refuses_what_holding_refuses_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    before = sorted(tmp_path.rglob("*"))
    for name in ("file", "file/run", "file/x/run", "lost", "lost/run", "n" * 300, "file/" * 3):
        for ask in (folder_lock.check, hold):
            with pytest.raises(UserError, match=r"cannot be made or written \(.+\); choose"):
                ask(tmp_path / name)
    folder_lock.check(tmp_path / "new" / "run")
    assert sorted(tmp_path.rglob("*")) == before
