"""The output of a worker: its last part is kept, and what is not is counted."""

from __future__ import annotations

import os
from pathlib import Path

from vrft.reward_workers.output_log import OutputLog


def test_output_is_held_until_there_is_a_folder_and_then_written(tmp_path: Path) -> None:
    log = OutputLog()
    log.add(b"before\n")
    log.keep_in(tmp_path / "rewards" / "mine.log")
    log.add(b"behind\n")
    assert (tmp_path / "rewards" / "mine.log").read_bytes() == b"before\nbehind\n"


def test_a_silent_worker_leaves_no_file(tmp_path: Path) -> None:
    OutputLog().keep_in(tmp_path / "rewards" / "mine.log")
    assert list(tmp_path.iterdir()) == []


def test_of_much_output_the_last_part_is_kept_and_the_rest_counted(tmp_path: Path) -> None:
    log = OutputLog(kept=10)
    log.keep_in(tmp_path / "mine.log")
    for letter in b"abcde":
        log.add(bytes([letter]) * 6)
    # Two files: the last one, and the one before it.
    assert (tmp_path / "mine.former.log").read_bytes().endswith(b"d" * 6)
    text = (tmp_path / "mine.log").read_bytes()
    head, _, rest = text.partition(b"\n")
    assert rest == b"e" * 6
    assert head.startswith(b"[vrft: ") and head.endswith(b" bytes before these two files]")


def test_before_there_is_a_folder_the_last_part_is_held(tmp_path: Path) -> None:
    log = OutputLog(kept=10)
    for letter in b"abcde":
        log.add(bytes([letter]) * 6)
    log.keep_in(tmp_path / "mine.log")
    assert (tmp_path / "mine.log").read_bytes().endswith(b"dddd" + b"e" * 6)


def test_a_resumed_run_goes_on_with_its_log(tmp_path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = OutputLog()
        log.keep_in(tmp_path / "mine.log")
        log.add(word)
    assert (tmp_path / "mine.log").read_bytes() == b"one\ntwo\n"


def test_a_call_is_counted_from_its_begin() -> None:
    log = OutputLog()
    log.add(b"12345")
    log.begin_call()
    log.add(b"678")
    assert log.of_call == 3


def test_a_pipe_is_read_to_its_end_also_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    log = OutputLog()
    log.keep_in(tmp_path / "file" / "mine.log")
    read, write = os.pipe()
    os.write(write, b"lost\n")
    os.close(write)
    log.read(read)
    assert log.of_call == 5
