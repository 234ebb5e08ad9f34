"""The ledger of prompts: counts, its file, and the prompts that are kept by difficulty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vrft.diagnosis import difficulty
from vrft.diagnosis.difficulty import Attempt, Bounds, Ledger, Standing
from vrft.errors import UserError

ATTEMPTS = [
    Attempt("a", 4, 4.0, 4, 40, signal=False),  # always right: nothing to learn
    Attempt("b", 4, 1.0, 1, 80, signal=True),
    Attempt("c", 4, 0.0, 0, 100, signal=False),  # never right: nothing to learn either
    Attempt("b", 4, 3.0, 3, 20, signal=True),
]


def test_a_prompt_of_no_known_reward_is_neither_solved_nor_hopeless(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.add([Attempt("lost", 0, 0.0, 0, 9, signal=False)])
    assert ledger.pass_rate("lost") is None
    ledger.write(tmp_path / difficulty.FILE)
    [standing] = difficulty.read(tmp_path / difficulty.FILE)
    assert standing.pass_rate is None and standing.mean_reward is None
    assert "1 prompts sampled, 0 never and 0 always" in difficulty.line(tmp_path)
    assert Bounds(min_pass_rate=0.5).reason(standing) is None
    assert Bounds(unsampled=False).reason(standing) == "never rewarded"


def test_a_prompt_has_its_pass_rate_its_reward_and_the_tokens_that_taught_nothing(
    tmp_path: Path,
) -> None:
    ledger = Ledger()
    ledger.add(ATTEMPTS)
    ledger.write(tmp_path / difficulty.FILE)
    rows = [json.loads(line) for line in (tmp_path / difficulty.FILE).read_text().splitlines()]
    assert rows[1] == {
        # 1 + 3 of 8 answers
        **{"sample_id": "b", "pass_rate": 0.5, "mean_reward": 0.5, "sampled": 2, "answers": 8},
        **{"reward": 4.0, "full": 4, "tokens": 100, "tokens_without_signal": 0},
    }
    assert [(row["sample_id"], row["tokens_without_signal"]) for row in rows] == [
        ("a", 40),
        ("b", 0),
        ("c", 100),
    ]
    # 140 of 240 tokens
    assert difficulty.line(tmp_path) == (
        "difficulty: 3 prompts sampled, 1 never and 1 always of full reward; 58% of 240 tokens "
        f"taught nothing ({tmp_path / difficulty.FILE})"
    )


@pytest.mark.parametrize("cut", range(len(ATTEMPTS) + 1))
def test_a_ledger_goes_on_from_its_file_as_if_it_had_never_stopped(
    cut: int, tmp_path: Path
) -> None:
    uneven = [Attempt("b", 3, 0.1 + 0.2, 0, 7, signal=True), *ATTEMPTS]  # 0.30000000000000004
    whole, before, after = Ledger(), Ledger(), Ledger()
    whole.add(uneven)
    before.add(uneven[:cut])
    before.write(tmp_path / "before")
    after.add([Attempt("stray", 1, 1.0, 1, 1, signal=True)])  # forgotten
    after.restore(tmp_path / "before")
    after.add(uneven[cut:])
    whole.write(tmp_path / "whole")
    after.write(tmp_path / "after")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "after").read_bytes()


def test_a_prompt_takes_few_bytes_beside_its_id() -> None:
    ledger = Ledger()
    ledger.add(Attempt(str(number), 2, 0.5, 0, 9, signal=True) for number in range(30_000))
    ledger.add(Attempt(str(number), 2, 0.5, 0, 9, signal=True) for number in range(30_000))
    assert len(ledger) == 30_000
    assert ledger.totals.nbytes <= 30_000 * 2 * 48  # it doubles where it is full
    assert sum(standing.sampled for standing in ledger.standings()) == 60_000


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[1]", "no sample_id"),
        ('{"sample_id": 7}', "no sample_id"),
        ('{"sample_id": "a"', "is no prompt of a ledger"),
        ("[" * 100_000, "is no prompt of a ledger"),
        ('{"sample_id": "a", "sampled": 1.5}', "sampled is 1.5"),
        ('{"sample_id": "a", "sampled": true}', "sampled is True"),
        ('{"sample_id": "a", "sampled": -1, "answers": 1, "reward": 0, "full": 0, "tokens": 1, '
         '"tokens_without_signal": 0}', "sampled is -1"),
        ('{"sample_id": "a", "sampled": 1, "answers": 0, "reward": 0, "full": 1, "tokens": 1, '
         '"tokens_without_signal": 0}', "1 of 0 answers"),
        ('{"sample_id": "a", "sampled": 1, "answers": 1, "reward": NaN, "full": 0, "tokens": 1, '
         '"tokens_without_signal": 0}', "reward is nan"),
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_refused_by_its_number(
    line: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / difficulty.FILE
    path.write_text(json.dumps(Standing("a", 1, 1, 0.0, 0, 1, 0).row()) + "\n" + line + "\n")
    with pytest.raises(UserError, match="line 2") as caught:
        list(difficulty.read(path))
    assert complaint in str(caught.value)


def test_a_pass_rate_is_that_of_all_answers_so_far() -> None:
    ledger = Ledger()
    ledger.add(ATTEMPTS)
    # b: one right of four, then three of four
    assert [ledger.pass_rate(name) for name in "abcd"] == [1.0, 0.5, 0.0, None]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(difficulty.read(tmp_path / difficulty.FILE))
    assert difficulty.line(tmp_path) == ""


def test_prompts_are_left_out_by_bounds_and_counted_by_reason() -> None:
    ledger = Ledger()
    ledger.add(ATTEMPTS)
    ids = ["a", "b", "c", "d"]

    def kept(**bounds: float | bool) -> tuple[list[int], dict[str, int]]:
        return difficulty.left_out(ids, ledger.standings(), Bounds(**bounds))  # type: ignore[arg-type]

    assert kept() == ([0, 1, 2, 3], {})
    # bounds belong to what is kept: b has a pass rate of exactly 0.5
    assert kept(min_pass_rate=0.5, max_pass_rate=0.5) == (
        [1, 3],
        {"pass rate over 0.5": 1, "pass rate under 0.5": 1},
    )
    assert kept(min_reward=0.1, unsampled=False) == (
        [0, 1],
        {"mean reward under 0.1": 1, "never sampled": 1},
    )
    with pytest.raises(UserError, match=r"sampled 'c', which the data have not"):
        difficulty.left_out(["a", "b"], ledger.standings(), Bounds())
