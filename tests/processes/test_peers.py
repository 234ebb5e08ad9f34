"""Processes of a launch do not wait for one that cannot come."""

from __future__ import annotations

import math
import re
import threading
from types import SimpleNamespace

import pytest

from vrft.config.schema import TrainConfig
from vrft.errors import UserError
from vrft.processes import peers


class Memory:
    """The store of all processes, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes:
        return self.values[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[peers.PeerGuard]:
    """The watches of two processes, whose threads are not started."""
    store = Memory()
    monkeypatch.setattr(peers, "STARTS", iter([3, 3]))  # in each process the fourth run
    return [peers.PeerGuard(rank, 2, store, 60) for rank in range(2)]


def test_processes_that_look_in_turn_go_on(two: list[peers.PeerGuard]) -> None:
    for _ in range(3 * peers.MISSED):
        assert two[0].look() is None and two[1].look() is None


def test_a_process_that_is_stopped_is_given_up_within_a_minute(two: list[peers.PeerGuard]) -> None:
    two[1].look()
    lines = [two[0].look() for _ in range(1 + peers.MISSED)]
    assert lines[:-1] == [None] * peers.MISSED
    assert "process 1 has given no sign of life for 50 seconds" in str(lines[-1])
    assert (1 + peers.MISSED) * peers.BEAT < 60


def test_a_launch_that_was_stopped_as_a_whole_goes_on(two: list[peers.PeerGuard]) -> None:
    """However long: looks are counted."""
    for _ in range(peers.MISSED - 1):
        assert two[0].look() is None
    assert two[1].look() is None
    assert two[0].look() is None and two[0].silent[1] == 0


def test_a_process_that_has_ended_well_is_not_missed(two: list[peers.PeerGuard]) -> None:
    for stopped in (None, SystemExit(143)):
        two[1].__exit__(type(stopped) if stopped else None, stopped, None)
        assert [two[0].look() for _ in range(2 * peers.MISSED)] == [None] * 2 * peers.MISSED


GLOO = "[/torch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]"
LATE = "[/torch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 60000ms"


def test_a_process_says_with_which_error_another_has_ended(two: list[peers.PeerGuard]) -> None:
    mistake = UserError("step 3: reward 'mine' returned a str")
    two[1].__exit__(UserError, mistake, None)
    said = f"process 1 has ended: {mistake}"
    # Where the exchange fails, and where it does not notice.
    with pytest.raises(UserError, match=re.escape(f"process 0 ends, as {said}")):
        two[0].__exit__(RuntimeError, RuntimeError(GLOO), None)
    assert [two[0].look() for _ in range(4)][-1] == said


@pytest.mark.parametrize("hanging", [None, "it has hung for 35 seconds"])
def test_nothing_is_said_behind_the_last_word(
    hanging: str | None, two: list[peers.PeerGuard]
) -> None:
    """The thread looks after this process, which takes seconds, while the block ends."""
    looking, ended = threading.Event(), threading.Event()

    def line() -> str | None:
        looking.set()
        ended.wait(10)
        return hanging

    two[0].rest = SimpleNamespace(line=line)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no shares"), two[0]:
        looking.wait(10)
        raise ValueError("no shares")
    ended.set()
    two[0].thread.join(10)
    assert two[1].heard(0) == "failed: ValueError: no shares"


def test_an_error_that_another_process_has_caused_is_not_the_cause(
    two: list[peers.PeerGuard],
) -> None:
    with pytest.raises(UserError, match="another one has ended without a word: it was killed"):
        two[1].__exit__(RuntimeError, RuntimeError(GLOO), None)
    assert two[0].heard(1) == peers.LEFT


def test_the_words_of_processes_before_a_restart_are_not_heard(
    two: list[peers.PeerGuard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun's, whose store outlives them."""
    two[1].__exit__(UserError, UserError("a mistake"), None)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setattr(peers, "STARTS", iter([3]))
    again = peers.PeerGuard(0, 2, two[0].store, 60)
    assert again.heard(1) == "" and two[0].heard(1) == "failed: a mistake"


def test_a_bug_keeps_its_traceback_and_is_told(two: list[peers.PeerGuard]) -> None:
    two[1].__exit__(RuntimeError, RuntimeError("shapes do not match"), None)
    assert two[0].heard(1) == "failed: RuntimeError: shapes do not match"


def test_a_process_that_hangs_is_named_with_its_place(two: list[peers.PeerGuard]) -> None:
    two[1].look()  # this test is what it hangs in
    with pytest.raises(UserError, match=r"ddp_timeout=60 seconds: process 1 is in .*hangs\.py:\d+"):
        two[0].__exit__(RuntimeError, RuntimeError(LATE), None)


def test_a_process_that_waits_as_well_is_not_blamed(two: list[peers.PeerGuard]) -> None:
    two[1].say("8 /lib/torch/distributed/distributed_c10d.py:3 (all_reduce)")
    with pytest.raises(UserError, match="no process says where it is"):
        two[0].__exit__(RuntimeError, RuntimeError(LATE), None)


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (GLOO, True),
        (LATE, True),
        ("[../gloo/transport/tcp/pair.cc:1] Connection reset by peer", True),
        ("NCCL communicator was aborted on rank 1", True),
        ("[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4)", True),
        ("[c10d] TCPStore: recvValue failed: Connection reset", True),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
        ("CUDA out of memory", False),
        ("the reward's server timed out", False),
    ],
)
def test_the_errors_of_lost_processes_are_known_by_their_words(text: str, lost: bool) -> None:
    assert bool(peers.LOST.match(text)) == lost


def test_a_process_that_hangs_ends_with_its_line_and_the_others_within_a_minute(
    two: list[peers.PeerGuard], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "it has hung for 35 seconds in mine.py:12 (reward)"
    codes: list[int] = []
    two[1].end = codes.append
    monkeypatch.setattr(two[1], "rest", SimpleNamespace(line=lambda: line))
    two[1].beat()
    assert codes == [2]
    assert capsys.readouterr().err == f"vrft: error: process 1: {line}\n"
    assert [two[0].look() for _ in range(1 + peers.GRACE)][-1] == f"process 1 has ended: {line}"
    # After the look of its last work it is at rest at so many, and then the other one looks.
    looks = 1 + math.ceil(TrainConfig().hang_timeout / peers.BEAT) + 1 + peers.GRACE
    assert looks * peers.BEAT < 60


def test_a_watch_looks_at_the_thread_that_has_begun_it(
    two: list[peers.PeerGuard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "STARTS", iter([4]))
    made = peers.PeerGuard(0, 2, two[0].store, 60, hang_timeout=12.0)
    assert (made.rest.thread, made.rest.most) == (threading.get_ident(), 3)  # looks, 5 s apart


def test_the_thread_ends_the_process_that_nobody_answers(
    two: list[peers.PeerGuard], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "BEAT", 0.001)
    codes: list[int] = []
    two[0].end = codes.append
    with two[0]:
        two[0].thread.join(10)
    assert codes == [2]
    assert "vrft: error: process 0: process 1 has given no sign" in capsys.readouterr().err
