"""A run: how many prompts a device takes in a step, and how many steps it has."""

from __future__ import annotations

from fakes.bigram import CONFIG, run, with_train


def test_a_step_takes_what_a_device_holds_times_the_accumulation() -> None:
    made = run(with_train(CONFIG, per_device_train_batch_size=2, gradient_accumulation_steps=3))
    assert made.config.train.prompts_per_device == 6


def test_epochs_give_the_number_of_steps() -> None:
    made = run(with_train(CONFIG, max_steps=-1, num_train_epochs=2.5))
    assert made.total_steps == 10  # 2.5 epochs of 24 samples, 6 a step
