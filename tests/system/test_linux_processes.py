"""Processes as the system tells of them: sessions, families, memory, words of an environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vrft.system import linux_processes
from vrft.system.linux_processes import all_processes, memory_of, of_session, shares_of, with_word


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that leads a session, with a child that waits for its input to end."""
    child = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "VRFT_TEST_WORD": "one"},
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.read(1) == b"x"  # of the child: it is there
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_session_has_its_leader_and_what_that_has_started(
    leader: subprocess.Popen[bytes],
) -> None:
    family = of_session(leader.pid)
    assert len(family) == 2
    assert leader.pid in {process.id for process in family}
    assert {process.session for process in family} == {leader.pid}
    assert memory_of(family) > shares_of(family) > 2**20  # the library's code is shared
    assert set(with_word("VRFT_TEST_WORD=one")) == {process.id for process in family}
    assert with_word("VRFT_TEST_WORD=on") == []


def test_this_process_is_among_all() -> None:
    (own,) = [process for process in all_processes() if process.id == os.getpid()]
    assert (own.parent, own.session) == (os.getppid(), os.getsid(0))
    assert own.resident > 2**20


def test_a_system_without_proc_tells_of_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(linux_processes, "PROC", tmp_path / "none")
    assert (of_session(1), with_word("A=b")) == ([], [])
