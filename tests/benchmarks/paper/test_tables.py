"""benchmarks/paper/tables.py: the studies have names of their own, and arms that can be run."""

from __future__ import annotations

from benchmarks.paper import study, tables
from vrft import config

ALL = [item for table in tables.STUDIES.values() for item in table]


def test_every_table_has_a_picture_of_its_own_and_arms_that_can_be_configured() -> None:
    assert len({item.name for item in ALL}) == len(ALL) == 8
    for item in ALL:
        for trial in study.search_trials(item):
            config.load(trial.config, trial.settings)


def test_every_claim_is_about_arms_of_its_study() -> None:
    for item in ALL:
        names = {arm.name for arm in item.arms}
        assert all({claim.better, claim.worse} <= names for claim in item.claims)


def test_an_arm_that_two_tables_show_is_the_same_trial() -> None:
    settings: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for item in ALL:
        for trial in study.search_trials(item):
            settings.setdefault((trial.config, trial.arm), set()).add(trial.settings)
    assert all(len(variants) == 1 for variants in settings.values())
    # four rates each: 19 arms of sums, 10 of photographs, 3 each of three other demos
    assert len(settings) == 4 * (19 + 10 + 9)


def test_gpg_is_the_middle_of_table_9() -> None:
    # the arm "gpg" stands in for groups of 8 and 16 prompts: 128 completions, as in the text
    demo = config.load(tables.MATH.config)
    assert demo.algorithm.num_generations == 8
    assert demo.train.per_device_train_batch_size == 16
