"""The rows of methods, and how they meet files and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft import config
from vrft.config import methods
from vrft.config.methods import METHODS, AlgorithmConfig, method
from vrft.errors import UserError


def test_there_are_fourteen_methods_and_gpg_is_the_default() -> None:
    assert list(METHODS) == [
        *("gpg", "grpo", "dr_grpo", "dapo", "rloo", "reinforce_pp", "remax", "ppo"),
        *("gspo", "cispo", "sapo", "gmpo", "dppo", "sft"),
    ]
    assert method("gpg") == AlgorithmConfig()


@pytest.mark.parametrize("name", METHODS)
def test_every_row_is_made_of_settings_and_names_its_source(name: str) -> None:
    assert config.load(None, [f"algorithm={name}"]).algorithm == method(name)
    assert METHODS[name].source


def test_an_override_changes_one_setting_of_a_row() -> None:
    found = config.load(None, ["algorithm.beta=0.1", "algorithm=grpo"]).algorithm
    assert found == method("grpo", beta=0.1)


def test_another_algorithm_leaves_the_settings_of_the_files_own_behind(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "algorithm: {name: gpg, f_norm: none, alpha: true, num_generations: 4, "
        "reward_weights: {iou: 2}}"
    )
    same = config.load(str(path), ["algorithm=gpg"]).algorithm
    assert (same.f_norm, same.alpha) == ("none", True)
    found = config.load(str(path), ["algorithm=grpo"]).algorithm
    assert found == method("grpo", num_generations=4, reward_weights={"iou": 2.0})


def test_a_file_without_a_name_is_of_the_default_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("algorithm: {f_norm: none}")
    assert config.load(str(path)).algorithm == method("gpg", f_norm="none")
    assert config.load(str(path), ["algorithm=dapo"]).algorithm == method("dapo")


def test_a_child_that_names_another_algorithm_starts_from_its_row(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("algorithm: {name: gpg, alpha: true}")
    child = tmp_path / "child.yaml"
    child.write_text("extends: parent.yaml\nalgorithm: {name: dr_grpo, epsilon: 0.1}")
    assert config.load(str(child)).algorithm == method("dr_grpo", epsilon=0.1)


def test_a_reward_of_a_file_has_the_weight_behind_it_unless_reward_weights_has_another() -> None:
    sources = ("my_rewards.py:brief", "a=b/c:d.py:loud=-0.5", "r.py:kept=0", "r.py:named=2")
    made = method("gpg", rewards=sources, reward_weights={"named": 3.0, "iou": 4.0})
    assert made.weights == {"brief": 1.0, "loud": -0.5, "kept": 0.0, "named": 3.0, "iou": 4.0}


def test_an_unknown_algorithm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"algorithm.name: 'grop': did you mean 'grpo'\?"):
        config.load(None, ["algorithm=grop"])


def test_batches_are_reused_by_iterations_and_mini_batches() -> None:
    assert not method("grpo").reuses_batches
    assert method("grpo", num_iterations=2).reuses_batches
    assert method("grpo", num_mini_batches=2).reuses_batches
    assert method("ppo").reuses_batches


def test_what_all_algorithms_share_are_settings() -> None:
    assert set(methods.COMMON) <= set(AlgorithmConfig.__dataclass_fields__)
