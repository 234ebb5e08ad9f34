"""Progress on a terminal and in a log file."""

from __future__ import annotations

import io

import pytest

from vrft.progress import Lines, duration, progress, watched


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_once_an_interval_and_once_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(10, "work", stream=stream, interval=5.0, clock=clock)
    for second in range(1, 8):
        clock.now = float(second)
        lines.advance()
    lines.note("reward 0.5")
    lines.finish()
    lines.finish()  # nothing new since: no third line
    assert stream.getvalue().splitlines() == [
        "work: 5/10  1.00/s  0:05 left",
        "work: 7/10  1.00/s  0:03 left  reward 0.5",
    ]


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(100, "work", done=90, stream=stream, clock=clock)
    clock.now = 2.0
    lines.advance(4)  # 4 in 2 s, 6 left: 3 s
    lines.finish()
    assert stream.getvalue() == "work: 94/100  2.00/s  0:03 left\n"


def test_progress_to_a_pipe_is_plain_lines() -> None:
    stream = io.StringIO()
    with progress(2, "work", stream=stream, interval=1e9) as shown:
        shown.advance()
        shown.note("almost")
        shown.advance()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("work: 2/2")
    assert line.endswith("almost")


def test_progress_to_a_pipe_says_how_far_it_came_when_it_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), progress(9, "work", stream=stream) as shown:
        shown.advance(3)
        raise RuntimeError
    assert stream.getvalue().startswith("work: 3/9")


def test_progress_on_a_terminal_is_a_bar_with_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with progress(2, "work", stream=stream) as shown:
        shown.advance()
        shown.note("[reward] 0.5")  # not markup
        shown.advance()
    assert "work" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "[reward] 0.5" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_work_that_is_done_in_a_moment_shows_no_progress() -> None:
    stream = io.StringIO()
    assert [*watched(range(1000), "work", stream=stream, patience=1e9)] == [*range(1000)]
    assert stream.getvalue() == ""


def test_work_that_lasts_shows_its_progress() -> None:
    stream = io.StringIO()
    assert [*watched(range(4), "work", stream=stream, patience=0.0, interval=0.0)] == [0, 1, 2, 3]
    first, *_, last = stream.getvalue().splitlines()
    assert first.startswith("work: 2/4") and " left" in first  # the first item is not timed
    assert last.startswith("work: 4/4")


def test_progress_ends_where_the_work_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="third"):
        for item in watched(range(9), "work", stream=stream, patience=0.0, interval=1e9):
            if item == 2:
                raise ValueError("third")
    # the generator is closed with the frame that held it
    assert stream.getvalue().startswith("work: 2/9")


def test_work_without_a_known_end_shows_how_far_it_has_come() -> None:
    stream = io.StringIO()
    items = iter(range(3))
    assert [*watched(items, "rows", stream=stream, patience=0.0, interval=0.0)] == [0, 1, 2]
    first, last = stream.getvalue().splitlines()
    assert first.startswith("rows: 2 ") and last.startswith("rows: 3 ")
    assert "left" not in stream.getvalue() and "/3" not in stream.getvalue()


def test_progress_without_a_known_end_is_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress(None, "rows", stream=stream) as shown:
        shown.advance(7)
    assert "7/?" in stream.getvalue()


def test_of_several_processes_one_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, shows in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        stream = io.StringIO()
        assert [*watched(range(3), "work", stream=stream, patience=0.0)] == [0, 1, 2]
        assert bool(stream.getvalue()) == shows
