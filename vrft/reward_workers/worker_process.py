"""The process of a worker, from the side of the run: started, asked, watched, killed at a limit."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vrft.reward_workers import worker
from vrft.reward_workers.output_log import OutputLog
from vrft.system.linux_processes import memory_of, of_session, shares_of, with_word

GIB = 2**30
PIPE = 2**20
"""Bytes that the pipe of requests holds, where the system grants it."""
TICK = 0.1
"""Seconds between two looks at a worker that computes."""
PATIENCE = 5.0
"""Seconds that a worker has to end by itself once its run has ended."""
WORD = "VRFT_REWARD_WORKER"
"""A variable of the worker's environment, by which every process that it has started is known."""


@dataclass(frozen=True)
class Limits:
    """The limits of one worker; 0 is none. They stop a reward that runs away; they save nothing."""

    seconds: float = 60.0
    """Time of one call: of a group of completions."""
    start: float = 300.0
    """Time of the start, in which files are imported, and of the first call of a run."""
    memory: int = 16 * GIB
    """Bytes of memory of the worker and all that it has started."""
    printed: int = GIB // 16
    """Bytes that one call may print; the log keeps the last of them, see OutputLog."""
    processes: int = 256
    """Processes of the worker at a time, itself included."""
    file: int = 16 * GIB
    """Bytes of a file that the worker writes."""
    answer: int = GIB // 16
    """Bytes of one answer, logged columns included."""


class LimitReached(Exception):
    """The end of a worker that gave no answer; the text is the reason, such as "it took ..."."""


class WorkerProcess:
    """A worker of rewards until it ends, by itself or at a limit; ``alive`` tells whether it has.

    ``task`` is the task's message where its own rewards are asked for, ``modules`` are those of
    reward functions. Whoever drops it ends its process.
    """

    def __init__(
        self,
        modules: Sequence[str],
        task: Any,
        limits: Limits,
        output: OutputLog,
    ) -> None:
        self.limits, self.output = limits, output
        self.requests = 0
        word = uuid.uuid4().hex
        self.process, self.request, self.answer, printed = started(word)
        self.pipes = [self.request, self.answer]
        self.ended = weakref.finalize(self, end_all, self.process, word, self.pipes, os.getpid())
        output.follow(printed)
        for pipe in self.pipes:
            os.set_blocking(pipe, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # pictures in memory are millions of bytes
            with contextlib.suppress(OSError):  # more than the system grants its users
                fcntl.fcntl(self.request, fcntl.F_SETPIPE_SZ, PIPE)
        self.pending = b""
        self.start = {
            "path": sys.path,
            "parent": os.getpid(),
            "main_thread": threading.current_thread() is threading.main_thread(),
            "limits": {"memory": limits.memory, "file": limits.file},
            "modules": list(modules),
            "task": task,
        }

    @property
    def alive(self) -> bool:
        """Return whether the process can be asked."""
        return self.ended.alive

    def begin(self) -> dict[str, Any]:
        """Let the worker import what it needs, and return its answer to that.

        Raises LimitReached as ``ask`` does.
        """
        return self.exchange(self.start, 0, self.limits.start)

    def ask(self, request: Mapping[str, Any], seconds: float | None = None) -> dict[str, Any]:
        """Return the answer to a request, within ``seconds`` or the limit of a call.

        Raises LimitReached, with the reason, once the worker has ended without an answer or was
        killed at a limit.
        """
        self.requests += 1
        seconds = self.limits.seconds if seconds is None else seconds
        return self.exchange({**request, "id": self.requests}, self.requests, seconds)

    def exchange(self, message: Mapping[str, Any], number: int, seconds: float) -> dict[str, Any]:
        """Write a line and return the next one, which must bear the ``number`` of the request."""
        unsent = json.dumps(message).encode("ascii") + b"\n"
        deadline = time.monotonic() + seconds if seconds else float("inf")
        self.output.begin_call()
        try:
            line = self.next_line(unsent, deadline, seconds)
            answer = json.loads(line)
            if not isinstance(answer, dict) or answer.get("id") != number:
                raise ValueError
            if answer.get("memory"):
                raise LimitReached("it had not enough memory (MemoryError; train.reward_memory)")
        except LimitReached:
            self.ended()
            raise
        except (ValueError, RecursionError):
            self.ended()
            raise LimitReached("it wrote what is no answer into the pipe of answers") from None
        except BaseException:  # Ctrl-C: an answer may be under way, which the next request is not
            self.ended()
            raise
        return answer

    def next_line(self, unsent: bytes, deadline: float, seconds: float) -> bytes:
        """Write what is ``unsent`` and return the next line of the worker, looking after it."""
        looked = time.monotonic()
        while b"\n" not in self.pending:
            now = time.monotonic()
            if now >= deadline:
                raise LimitReached(
                    f"it took longer than {seconds:g} seconds (train.reward_timeout)"
                )
            if now - looked >= TICK:
                self.check_usage()
                looked = now
            poll = select.poll()
            poll.register(self.answer, select.POLLIN)
            if unsent:
                poll.register(self.request, select.POLLOUT)
            ready = dict(poll.poll(1000 * min(TICK, deadline - now)))
            try:
                if self.request in ready:
                    unsent = unsent[os.write(self.request, unsent) :]
                if self.answer in ready:
                    self.read_some()
                elif not ready and self.has_ended():
                    raise LimitReached(self.cause())
            except BrokenPipeError:
                raise LimitReached(self.cause()) from None
        line, _, self.pending = self.pending.partition(b"\n")
        self.check_printed()
        return line

    def read_some(self) -> None:
        """Read what the worker has written; LimitReached at its end, or if that is too much."""
        chunk = os.read(self.answer, 1 << 20)
        if not chunk:
            raise LimitReached(self.cause())
        self.pending += chunk
        if len(self.pending) > self.limits.answer:
            raise LimitReached(f"its answer has more than {self.limits.answer:,} bytes")

    def has_ended(self) -> bool:
        """Return whether the process has ended, without forgetting its id: its session goes on."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13, where the id is forgotten
            return self.process.poll() is not None
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def cause(self) -> str:
        """Return in words how the process has ended that closed its pipe."""
        deadline = time.monotonic() + 1.0
        while not self.has_ended():
            if time.monotonic() > deadline:
                return "it closed the pipe of its answers"
            time.sleep(0.01)
        status = self.exit_status()
        if status >= 0:
            return f"its process ended with exit status {status}"
        return f"its process was killed by {signal.Signals(-status).name}"

    def exit_status(self) -> int:
        """Return the exit status of the process, which has ended; less than 0: minus the signal."""
        if not hasattr(os, "waitid"):
            return self.process.wait()
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def check_printed(self) -> None:
        """Raise LimitReached where the call has printed too much."""
        if self.limits.printed and self.output.of_call > self.limits.printed:
            raise LimitReached(f"it printed more than {self.limits.printed:,} bytes in one call")

    def check_usage(self) -> None:
        """Raise LimitReached where the worker has ended, or holds or prints too much."""
        self.check_printed()
        processes = of_session(self.process.pid)
        if self.limits.processes and len(processes) > self.limits.processes:
            raise LimitReached(f"it started more than {self.limits.processes} processes")
        most = self.limits.memory
        # What forks share counts for each of them at first; to share it out takes longer.
        if most and memory_of(processes) > most and shares_of(processes) > most:
            raise LimitReached(
                f"it took more than {most / GIB:g} GiB of memory (train.reward_memory)"
            )

    def close(self) -> None:
        """Let the process end by itself, for PATIENCE, and then kill all that is left of it."""
        if self.alive:
            self.pipes.remove(self.request)
            os.close(self.request)  # the end of its requests
            deadline = time.monotonic() + PATIENCE
            while not self.has_ended() and time.monotonic() < deadline:
                time.sleep(0.01)
        self.ended()
        self.output.settle()


def started(word: str) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """Start a worker; return it and our ends of its pipes: of requests, answers and what it prints.

    ``word`` in its environment marks it and all that it starts.
    """
    read, request = os.pipe()
    answer, write = os.pipe()
    printed, output_end = os.pipe()
    # -P keeps this file's folder off sys.path, where its neighbours would hide other modules.
    command = [sys.executable, "-P", worker.__file__, str(read), str(write)]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output_end,
            stderr=output_end,
            pass_fds=(read, write),
            start_new_session=True,  # Ctrl-C is for the run, and a kill for all of the session
            env={**os.environ, WORD: word},
        )
    except OSError:  # no memory for a process, or too many of them
        for ours in (request, answer, printed):
            os.close(ours)
        raise
    finally:
        for theirs in (read, write, output_end):
            os.close(theirs)
    return process, request, answer, printed


def end_all(process: subprocess.Popen[bytes], word: str, pipes: Sequence[int], owner: int) -> None:
    """Kill a worker with all that it has started, and close the pipes to it.

    Nothing happens in a fork of the ``owner``, the process that started the worker.
    """
    if os.getpid() != owner:
        return
    for pipe in pipes:
        os.close(pipe)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    # Those that have left the session, and those that are about to end; what they start between the
    # look and the kill is met in the next round.
    for _ in range(100):
        strays = with_word(f"{WORD}={word}")
        for stray in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)
        if not strays:
            break
        time.sleep(0.01)
    process.wait()
