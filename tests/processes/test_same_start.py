"""Processes that do not see the same settings and data are refused, in all of them by one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from vrft import config
from vrft.errors import UserError
from vrft.processes import exchange, same_start
from vrft.types import Sample


class Exchange:
    """What processes give each other, here two threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.barrier = threading.Barrier(2, timeout=10)
        self.given: list[Any] = [None, None]
        self.rank = threading.local()
        monkeypatch.setattr(exchange, "gather_object", lambda values: self.gather(values[0]))
        monkeypatch.setattr(exchange, "from_main", lambda _, value: self.gather(value)[0])

    def gather(self, value: Any) -> list[Any]:
        self.given[self.rank.number] = value
        self.barrier.wait()
        values = list(self.given)
        self.barrier.wait()
        return values

    def errors(self, calls: Sequence[Callable[[], None]]) -> list[str]:
        """The line with which each of the calls has ended, "" for one that has returned."""
        lines = ["", ""]

        def call(number: int) -> None:
            self.rank.number = number
            try:
                calls[number]()
            except UserError as error:
                lines[number] = str(error)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return lines


def letters(folder: Path, colour: str = "red") -> list[Sample[Any]]:
    folder.mkdir(exist_ok=True)
    path = folder / "a.bmp"
    Image.new("RGB", (20, 20), colour).save(path)
    return [Sample("a", "Where?", 1, (path,)), Sample("b", "Who?", 2), Sample("c", "Why?", 3)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # of another machine's folder, written at another time
        (lambda made, folder: letters(folder), ""),
        # another count, order, gold answer, question, picture
        (lambda made, folder: made[:2], "1 removed: 'c'"),
        (lambda made, folder: [*made, Sample("d", "?", 1)], "1 added: 'd'"),
        (lambda made, folder: made[::-1], "in another order"),
        (
            lambda made, folder: [*made[:2], replace(made[2], answer=4)],
            "1 with another question or answer: 'c'",
        ),
        (
            lambda made, folder: [*made[:2], replace(made[2], question="?")],
            "1 with another question or answer: 'c'",
        ),
        (lambda made, folder: letters(folder, "blue"), "1 with other pictures: 'a'"),
    ],
)
def test_processes_with_other_data_are_refused_in_one_line(
    change: Callable[..., list[Any]], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = letters(tmp_path / "first")
    shown = [made, change(made, tmp_path / "second")]
    two = SimpleNamespace(num_processes=2)
    settings = config.load(None, [])
    calls = [lambda samples=s: same_start.check_same(two, settings, samples) for s in shown]
    lines = Exchange(monkeypatch).errors(calls)
    assert lines[0] == lines[1] and "\n" not in lines[0]
    expected = f"process 1 does not see what process 0 sees: {said}; give all" if said else ""
    assert lines[0].startswith(expected) and bool(lines[0]) == bool(said)


def test_processes_with_other_settings_are_refused_but_for_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = SimpleNamespace(num_processes=2)
    for given, said in (("train.output_dir=x", None), ("train.seed=7", "train.seed is 7 and not")):
        made = [config.load(None, []), config.load(None, [given])]
        calls = [lambda config=c: same_start.check_same(two, config, []) for c in made]
        lines = Exchange(monkeypatch).errors(calls)
        assert lines[0] == lines[1] and (said in lines[0] if said else lines[0] == "")
