"""Progress on a terminal and in a log file."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from vrft.progress import OPEN, Bar, Lines, duration, progress, with_progress


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
        "work: 5/10  0:05 left  1.00/s",
        "work: 7/10  0:03 left  1.00/s  reward 0.5",
    ]


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(100, "work", done=90, stream=stream, clock=clock)
    clock.now = 2.0
    lines.advance(4)  # 4 in 2 s, 6 left: 3 s
    lines.finish()
    assert stream.getvalue() == "work: 94/100  0:03 left  2.00/s\n"


def test_a_line_can_come_every_so_many_items() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(7, "training", stream=stream, interval=0.0, clock=clock, every=3)
    for step in range(1, 8):
        clock.now += 2.0
        lines.note(f"reward {step}")
        lines.advance()
    lines.finish()
    assert stream.getvalue().splitlines() == [
        "training: 3/7  0:08 left  0.50/s  reward 3",
        "training: 6/7  0:02 left  0.50/s  reward 6",
        "training: 7/7  0.50/s  reward 7",
    ]


TEXTS = ("reward 0.532", "signal 75%", "eval_iou 0.431", "iou 0.410", "format 0.980")


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        # everything beside the bar
        (
            130,
            [
                "training ━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 20/200  3:00 left  1.00/s  reward 0.532  "
                "signal 75%  eval_iou 0.431  iou 0.410  format 0.980",
            ],
        ),
        # the texts below it
        (
            79,
            [
                "training ━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 20/200  3:00 left  1.00/s",
                "reward 0.532  signal 75%  eval_iou 0.431  iou 0.410  format 0.980",
            ],
        ),
        # the last text is left out, then the next; the bar is shortened
        (
            55,
            [
                "training ━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 20/200  3:00 left  1.00/s",
                "reward 0.532  signal 75%  eval_iou 0.431  iou 0.410",
            ],
        ),
        (40, ["training 20/200  3:00 left  1.00/s", "reward 0.532  signal 75%  eval_iou 0.431"]),
        # no bar, no rate, no time left
        (30, ["training 20/200  3:00 left", "reward 0.532  signal 75%"]),
        (20, ["training 20/200", "reward 0.532"]),
        (8, ["training", "reward 0"]),
    ],
)
def test_a_bar_fits_its_terminal_and_drops_what_is_least_important(
    width: int, expected: list[str]
) -> None:
    clock = Clock()
    shown = Bar(200, "training", clock=clock)
    clock.now = 20.0
    shown.advance(20)
    shown.note(*TEXTS)
    assert shown.lines(width) == expected
    assert all(len(line) <= width for line in shown.lines(width))


@pytest.mark.parametrize("width", [*range(1, 140)])
def test_no_width_is_too_narrow(width: int) -> None:
    for total, done in ((None, 7), (0, 0), (10**9, 10**9 - 1)):
        shown = Bar(total, "a work of many words", done)
        shown.note(*TEXTS)
        assert all(len(line) <= width for line in shown.lines(width))


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 60 columns that is standard error."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_what_is_printed_or_logged_stands_above_the_bar_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    library = logging.getLogger("a_library")
    handler = logging.StreamHandler()  # holds the stream that it meets here
    library.addHandler(handler)
    with progress(9, "training") as shown:
        shown.advance(3)
        print("warning: [no] markup", file=sys.stderr)
        library.warning("a library's word")
        shown.advance(2)
    library.removeHandler(handler)
    assert handler.stream is terminal
    # each begins a line: behind another, where the bar was cleared, or before its first drawing
    for text in ("warning: [no] markup", "a library's word"):
        before, _, after = terminal.getvalue().partition(text)
        assert before.endswith(("\n", "\x1b[2K", "\x1b[?25l")) and after.startswith("\n")
    assert "5/9" in terminal.getvalue().rpartition("\r")[2]


def test_a_bar_within_a_bar_is_a_line_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    with progress(9, "training") as outer, progress(4, "masks") as inner:
        outer.advance()
        inner.advance()
        drawn = [line.split()[0] for each in OPEN for line in each.lines(59)]
        assert drawn == ["training", "masks"]
    assert not OPEN
    assert "masks" not in terminal.getvalue().rpartition("training")[2]


def test_a_terminal_without_a_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with progress(2, "work") as shown:
        shown.advance(2)
    assert terminal.getvalue().startswith("work: 2/2") and "\x1b" not in terminal.getvalue()


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
    assert [*with_progress(range(1000), "work", stream=stream, patience=1e9)] == [*range(1000)]
    assert stream.getvalue() == ""


def test_work_that_lasts_shows_its_progress() -> None:
    stream = io.StringIO()
    shown = with_progress(range(4), "work", stream=stream, patience=0.0, interval=0.0)
    assert [*shown] == [0, 1, 2, 3]
    first, *_, last = stream.getvalue().splitlines()
    assert first.startswith("work: 2/4") and " left" in first  # the first item is not timed
    assert last.startswith("work: 4/4")


def test_progress_ends_where_the_work_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="third"):
        for item in with_progress(range(9), "work", stream=stream, patience=0.0, interval=1e9):
            if item == 2:
                raise ValueError("third")
    # the generator is closed with the frame that held it
    assert stream.getvalue().startswith("work: 2/9")


def test_work_without_a_known_end_shows_how_far_it_has_come() -> None:
    stream = io.StringIO()
    items = iter(range(3))
    assert [*with_progress(items, "rows", stream=stream, patience=0.0, interval=0.0)] == [0, 1, 2]
    first, last = stream.getvalue().splitlines()
    assert first.startswith("rows: 2 ") and last.startswith("rows: 3 ")
    assert "left" not in stream.getvalue() and "/3" not in stream.getvalue()


def test_progress_without_a_known_end_is_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress(None, "rows", stream=stream) as shown:
        shown.advance(7)
    assert re.search(r"rows ╌+ 7  \d+\.\d\d/s", stream.getvalue())


def test_of_several_processes_one_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, shows in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        stream = io.StringIO()
        assert [*with_progress(range(3), "work", stream=stream, patience=0.0)] == [0, 1, 2]
        assert bool(stream.getvalue()) == shows
