"""Processes of one launch that watch over each other: nobody waits for one that cannot come.

Each says every few seconds that it is alive, in the store by which they have found each other, and
looks whether the others do: one that has ended or was stopped ends the others within a minute. So
does one that is alive and hangs, as it notices itself. One that hangs within an exchange is noticed
by those that wait for it, after ``train.ddp_timeout`` seconds.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from accelerate import Accelerator
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]

from vrft.config.schema import TrainConfig
from vrft.errors import UserError
from vrft.processes.hangs import Rest, place_of

BEAT = 5.0
"""Seconds between two signs of life."""

MISSED = 10
"""Looks in a row, without a new sign of life of a process, after which it is given up."""

GRACE = 2
"""Looks for which a process may end by itself once another one has failed."""

LEFT, FAILED = "left", "failed: "
"""What a process says last: that it needs the others no more, or the error with which it ends."""

LOST = re.compile(
    r"(?=.*(gloo|nccl|tcpstore|by peer))"
    r".*(connection (closed|reset)|broken pipe|timed out|timeout|remote process|abort)",
    re.IGNORECASE | re.DOTALL,
)
"""The words of gloo's, NCCL's and the store's errors where another process does not answer."""

LATE = re.compile("timed? ?out", re.IGNORECASE)
"""The words of those that have waited in vain, and not for a process that has ended."""

WAITING = ("/torch/", "/accelerate/", "/deepspeed/")
"""Folders of the code that a process is in while it waits for the others."""

STARTS = itertools.count()
"""Numbers of the runs of this process, which are the same in all processes."""


def guarded(accelerator: Accelerator, train: TrainConfig) -> AbstractContextManager[Any]:
    """Return a block within which the processes of a launch watch over each other.

    ``train`` says for how long an exchange waits, and for how long a process may be at rest. Alone,
    and where processes have found each other without an address, nothing is guarded.
    """
    if accelerator.num_processes == 1 or "MASTER_PORT" not in os.environ:
        return nullcontext()
    try:
        # A connection of its own: while one waits for an answer, nobody else can use it.
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=30),
        )
    except DistError as error:
        print(f"note: processes do not watch over each other ({error})", file=sys.stderr)
        return nullcontext()
    rank, processes = accelerator.process_index, accelerator.num_processes
    return PeerGuard(rank, processes, store, train.ddp_timeout, train.hang_timeout)


class Store(Protocol):
    """The part of torch's store of keys and values, shared by all processes, that is needed."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


class PeerGuard:
    """A context in which a process tells the others that it is alive, and looks after them.

    An error that the silence of another process causes is replaced by a UserError that says which
    one it was, and why. Where this process waits in an exchange that does not notice, as NCCL's do,
    it ends with that line by ``end``; and so it does where it hangs itself, for ``hang_timeout``
    seconds.
    """

    def __init__(
        self,
        rank: int,
        processes: int,
        store: Store,
        ddp_timeout: int,
        hang_timeout: float = 0.0,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self.rank, self.store, self.ddp_timeout, self.end = rank, store, ddp_timeout, end
        self.others = [other for other in range(processes) if other != rank]
        # torchrun's restarts find the words of the processes before them in the same store.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.prefix = f"vrft/{restart}/{next(STARTS)}/"
        self.key = f"{self.prefix}{rank}"
        self.thread_of_run = threading.get_ident()
        self.rest = Rest(self.thread_of_run, hang_timeout, BEAT)
        self.beats = itertools.count()
        self.last: dict[int, str] = {}
        self.silent = dict.fromkeys(self.others, 0)
        self.ending = threading.Event()
        self.saying = threading.Lock()  # so that nothing is said behind the last word
        self.thread = threading.Thread(target=self.beat, name="peers", daemon=True)

    def __enter__(self) -> PeerGuard:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ending.set()
        lost = isinstance(error, RuntimeError) and LOST.match(str(error)) is not None
        # An error that another process has caused is not told: that one has told its own.
        ends_well = error is None or isinstance(error, SystemExit) or lost
        reason = f"{FAILED}{type(error).__name__}: {error}" if not ends_well else LEFT
        if isinstance(error, UserError):
            reason = f"{FAILED}{error}"
        # The store may have ended with the process that keeps it.
        with self.saying, suppress(DistError):
            self.store.set(self.key, reason)
        if lost:
            raise UserError(self.why(str(error))) from error

    def beat(self) -> None:
        """Give a sign of life, and look after this process and the others until the block ends."""
        while not self.ending.is_set():
            hanging = self.rest.line()
            try:
                if hanging is not None:
                    self.say(FAILED + hanging)
                line = hanging or self.look()
            except DistError as error:
                line = None if LEFT in self.last.values() else f"the store has ended ({error})"
            if line is not None and not self.ending.is_set():
                print(f"vrft: error: process {self.rank}: {line}", file=sys.stderr, flush=True)
                self.end(2)
                return
            self.ending.wait(BEAT)

    def say(self, text: str) -> None:
        """Tell the others what this process does, by one line, unless it is ending."""
        with self.saying:
            if not self.ending.is_set():
                self.store.set(self.key, text)

    def heard(self, other: int) -> str:
        """Return what another process has told last, "" where it has told nothing."""
        key = f"{self.prefix}{other}"
        return self.store.get(key).decode(errors="replace") if self.store.check([key]) else ""

    def look(self) -> str | None:
        """Give a sign of life; return what to say of a process that is to be given up, or None.

        Looks are counted, and not seconds: a launch that was stopped as a whole, as by Ctrl-Z, goes
        on.
        """
        self.say(f"{next(self.beats)} {place_of(self.thread_of_run)}")
        for other in self.others:
            said = self.heard(other)
            if said == LEFT:
                self.last[other] = said
                continue
            moved = said != self.last.get(other) and not said.startswith(FAILED)
            self.silent[other] = 0 if moved else self.silent[other] + 1
            self.last[other] = said
            if said.startswith(FAILED) and self.silent[other] > GRACE:
                return f"process {other} has ended: {said.removeprefix(FAILED)}"
            if self.silent[other] >= MISSED:
                return (
                    f"process {other} has given no sign of life for {MISSED * BEAT:g} seconds: it "
                    "was stopped or killed, or its machine is gone"
                )
        return None

    def why(self, error: str) -> str:
        """Return in words why an exchange with the other processes failed."""
        try:
            said = {other: self.heard(other) for other in self.others}
        except DistError:
            said = {}
        for other, text in said.items():
            if text.startswith(FAILED):
                return f"process {self.rank} ends, as process {other} has ended: " + (
                    text.removeprefix(FAILED)
                )
        if not LATE.search(error):
            return (
                f"process {self.rank} ends, as another one has ended without a word: it was "
                "killed, perhaps for want of memory"
            )
        busy = [
            f"process {other} is in {text.partition(' ')[2]}"
            for other, text in said.items()
            if text not in ("", LEFT) and not any(folder in text for folder in WAITING)
        ]
        where = "; ".join(busy) or "no process says where it is"
        return (
            f"process {self.rank} has waited for the others for train.ddp_timeout="
            f"{self.ddp_timeout} seconds: {where}; mend what hangs, or raise train.ddp_timeout"
        )
