"""Demo of math: its problems, the forgetful pupil, and the rows written from them."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vrft.demo import arithmetic
from vrft.demo.arithmetic import Problem, draw, problems, split_of, write
from vrft.types import Completion
from vrft_tasks.math import Math, last_box


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def all_problems() -> Iterator[Problem]:
    for split in arithmetic.SPLITS:
        yield from problems(split)


@pytest.mark.parametrize(
    ("problem", "solution", "forgetful"),
    [
        # 15 is over 9: one ten is carried, or forgotten.
        (Problem(47, "+", 38), "7+8=15, 4+3+1=8, \\boxed{85}", "7+8=15, 4+3=7, \\boxed{75}"),
        # 2 is less than 7: ten is borrowed, and the pupil forgets to pay it back.
        (Problem(82, "-", 47), "12-7=5, 8-4-1=3, \\boxed{35}", "12-7=5, 8-4=4, \\boxed{45}"),
        # Nothing to carry, nothing to forget.
        (Problem(42, "+", 11), "2+1=3, 4+1=5, \\boxed{53}", "2+1=3, 4+1=5, \\boxed{53}"),
        # Three digits, with and without a carry.
        (Problem(99, "+", 99), "9+9=18, 9+9+1=19, \\boxed{198}", "9+9=18, 9+9=18, \\boxed{188}"),
        (Problem(50, "+", 50), "0+0=0, 5+5=10, \\boxed{100}", "0+0=0, 5+5=10, \\boxed{100}"),
    ],
)
def test_ones_come_first_then_tens(problem: Problem, solution: str, forgetful: str) -> None:
    assert problem.solution() == solution
    assert problem.solution(forgetful=True) == forgetful


def test_every_solution_is_right_and_the_forgetful_one_wrong_where_there_is_a_carry() -> None:
    for problem in all_problems():
        step = 1 if problem.sign == "+" else -1
        right = problem.first + step * problem.second
        assert last_box(problem.solution()) == str(right)
        # A lost carry is ten too little in a sum, and ten too much in a difference.
        wrong = str(right - 10 * step * problem.carries)
        assert last_box(problem.solution(forgetful=True)) == wrong


def test_a_problem_is_in_one_split_with_its_sum_in_the_other_order() -> None:
    # 90 x 90 sums; differences of at least 10: 80 + 79 + ... + 1 = 3240.
    assert len(list(all_problems())) == len(set(all_problems())) == 8100 + 3240
    assert split_of(Problem(47, "+", 38)) == split_of(Problem(38, "+", 47))
    for split, count in arithmetic.SPLITS.items():
        assert all(split_of(problem) == split for problem in problems(split))
        drawn = list(islice(draw(np.random.default_rng(0), split), count))
        assert len(set(drawn)) == count
        assert {sum(p.sign == sign for p in drawn) for sign in "+-"} == {count // 2}


def test_problems_come_again_when_all_have_been_there() -> None:
    differences = [p for p in problems("val") if p.sign == "-"]
    drawn = list(islice(draw(np.random.default_rng(0), "val"), 4 * len(differences)))
    first, second = drawn[1 : 2 * len(differences) : 2], drawn[2 * len(differences) + 1 :: 2]
    assert set(first) == set(second) == set(differences) and first != second


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / name, {"train": 30, "test": 10}, seed=seed, carelessness=0.5)
    for file in ("train.jsonl", "test.jsonl"):
        first, same, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == same != other


def test_the_task_reads_every_row_and_its_reference_earns_full_marks(tmp_path: Path) -> None:
    write(tmp_path / "data", {"test": 20})
    task = Math(data_dir=str(tmp_path / "data"))
    samples = task.samples("test")
    assert len(samples) == 20
    for sample, row in zip(samples, rows(tmp_path / "data", "test"), strict=True):
        assert sample.question == row["problem"]
        completion = Completion(task.reference(sample, ()), ())
        assert task.score(sample, completion).metrics["accuracy"] == 1.0
        assert {reward(sample, completion) for reward in task.rewards().values()} == {1.0}


def test_the_careless_pupil_forgets_as_often_as_asked(tmp_path: Path) -> None:
    write(tmp_path / "data", {"train": 1000}, carelessness=0.6)
    by_text = {problem.text: problem for problem in problems("train")}
    written = [
        (by_text[row["problem"]], row["solution"]) for row in rows(tmp_path / "data", "train")
    ]
    carrying = [(p, solution) for p, solution in written if p.carries]
    forgotten = [solution == p.solution(forgetful=True) for p, solution in carrying]
    # A binomial share of some 430 has a standard deviation of 0.024.
    assert len(carrying) > 350 and abs(np.mean(forgotten) - 0.6) < 0.08
    assert all(solution in (p.solution(), p.solution(True)) for p, solution in written)
