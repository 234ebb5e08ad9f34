"""benchmarks/speed/settings.py: what is raced, and how it is cut to ten minutes."""

from __future__ import annotations

from benchmarks.speed.settings import QUICK, SETTINGS, TIED, fitted


def test_the_settings_of_quick_and_tied_are_those_with_a_floor() -> None:
    assert [*QUICK, *TIED] == [name for name, setting in SETTINGS.items() if setting.floor]


def test_a_setting_is_cut_to_the_time_and_to_the_device() -> None:
    mathematics = SETTINGS["mathematics"]
    assert (mathematics.completion, mathematics.prompts) == (2000, 4)
    on_cpu, on_gpu = fitted(mathematics, "cpu"), fitted(mathematics, "cuda")
    assert (on_cpu.completion, on_cpu.prompts) == (512, 2)
    assert (on_gpu.completion, on_gpu.prompts) == (512, 4)
    assert fitted(SETTINGS["lisa"], "cpu").completion == 100


def test_image_tokens_are_those_of_all_pictures() -> None:
    assert SETTINGS["lisa"].image_tokens == 16 * 32
    assert SETTINGS["two_pictures"].image_tokens == 2 * 16 * 16
    assert SETTINGS["mathematics"].image_tokens == 0


def test_half_of_the_groups_of_a_step_are_tied_where_that_is_asked_for() -> None:
    assert fitted(SETTINGS["tied"], "cpu").informative == 1
    assert fitted(SETTINGS["lisa"], "cpu").informative == 2
