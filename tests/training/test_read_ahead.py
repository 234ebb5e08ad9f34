"""Reading ahead changes when things are read, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from fakes.bigram import CONFIG, Echo, run, take_step, with_train
from fakes.folders import FAKES
from safetensors.torch import load_file

from vrft import config
from vrft.errors import UserError
from vrft.training import train
from vrft.training.read_ahead import ReadAhead
from vrft.types import Prompt, Sample

LETTERS = FAKES / "letters_task.py"
R = TypeVar("R")


def same(thing: int) -> int:
    return thing


def taken(ahead: ReadAhead[int, R], wanted: list[int], coming: Sequence[int] = ()) -> list[R]:
    """The results of what is wanted, with what is coming announced behind it."""
    ahead.announce([*wanted, *coming])
    return [ahead.get(item) for item in wanted]


def refuse_13(thing: int) -> int:
    if thing == 13:
        raise UserError("13 cannot be read; replace it")
    return 10 * thing


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_is_read_comes_in_the_order_asked_for(workers: int) -> None:
    ahead = ReadAhead(refuse_13, same, workers)
    assert taken(ahead, [3, 1, 2, 1], [5, 4]) == [30, 10, 20, 10]
    assert taken(ahead, [4, 6]) == [40, 60]
    ahead.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_where_the_thing_is_taken(workers: int) -> None:
    ahead = ReadAhead(refuse_13, same, workers)
    assert taken(ahead, [1], [13]) == [10]
    assert taken(ahead, [2], [13]) == [20]
    with pytest.raises(UserError, match="13 cannot be read; replace it"):
        taken(ahead, [3, 13])
    ahead.close()


def test_what_is_coming_is_read_once_and_before_it_is_taken() -> None:
    begun: dict[int, threading.Event] = {n: threading.Event() for n in range(4)}
    times = []

    def read(thing: int) -> int:
        times.append(thing)
        begun[thing].set()
        return thing

    ahead = ReadAhead(read, same, 2)
    taken(ahead, [0, 1], [2, 3])
    assert begun[2].wait(20) and begun[3].wait(20)
    taken(ahead, [2, 3, 2])
    assert sorted(times) == [0, 1, 2, 3]
    ahead.close()


def test_closing_drops_what_has_not_begun() -> None:
    begun, go_on, read = threading.Event(), threading.Event(), []

    def wait(thing: int) -> None:
        read.append(thing)
        if thing:
            begun.set()
            go_on.wait(20)

    ahead = ReadAhead(wait, same, 1)
    taken(ahead, [0], [1, 2, 3])
    assert begun.wait(20)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    while not ahead.pending[3].cancelled():
        closing.join(0.001)
    go_on.set()
    closing.join()
    assert read == [0, 1]


@dataclass(frozen=True)
class OneBroken(Echo):
    """A task that one sample's prompt cannot be made for."""

    broken: str = ""

    def prompt(self, sample: Sample[str]) -> Prompt:
        if sample.id == self.broken:
            raise UserError(f"{sample.id}.png: no such picture")
        return super().prompt(sample)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_ends_in_the_step_that_needs_what_cannot_be_read(workers: int) -> None:
    made = run(with_train(CONFIG, dataloader_num_workers=workers))
    rows = [take_step(made)[1] for _ in range(3)]
    third = rows[2][0]["sample_id"]
    broken = run(made.config, OneBroken(broken=third))
    assert [len(take_step(broken)[1]) for _ in range(2)] == [24, 24]
    with pytest.raises(UserError, match=rf"^step 3: {third}\.png: no such picture$"):
        take_step(broken)


def test_reading_ahead_moves_no_run_further_than_its_steps() -> None:
    made = run(with_train(CONFIG, dataloader_num_workers=2))
    take_step(made)
    assert made.progress.cursor == 6


def test_a_run_is_the_same_to_the_last_bit_with_any_number_of_workers(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = config.load(
        None,
        [
            f"task={LETTERS}",
            f"model={model_folder('qwen2_vl')}",
            "algorithm.num_generations=4",
            "sampling.max_completion_length=6",
            "train.per_device_train_batch_size=5",
            "train.max_steps=4",  # 20 of 12 samples: into the second epoch
            "train.learning_rate=1e-3",
        ],
    )
    ends = []
    for workers in (0, 3):
        own = {"dataloader_num_workers": workers, "output_dir": str(tmp_path / str(workers))}
        folder = train.train(replace(settings, train=replace(settings.train, **own)))  # type: ignore[arg-type]
        ends.append(load_file(folder / "final" / "model.safetensors"))
    start = load_file(model_folder("qwen2_vl") / "model.safetensors")
    assert any(not ends[0][name].equal(start[name]) for name in start)
    assert all(ends[0][name].equal(ends[1][name]) for name in start)
