"""The result that a trial of benchmarks/paper might have had, so that no test has to train."""

from __future__ import annotations

from benchmarks.paper.trials import Result, Trial

TRIAL = Trial("counting", "demo/lisa_grounding", "demo_grounding", 1, ("train.max_steps=1",))


def result_of(trial: Trial, low: float = 0.1, after: float = 0.375) -> Result:
    """Return a result of the trial whose gain of 12.5 points lies between ``low`` and 0.15."""
    return Result(
        key=trial.key,
        arm=trial.arm,
        seed=trial.seed,
        config=trial.config,
        benchmark=trial.benchmark,
        settings=trial.settings,
        asked=trial.asked,
        metric="iou",
        n=300,
        before=0.25,
        after=after,
        gain=0.125,
        low=low,
        high=0.15,
        blanked=0.119,
        epochs=2.0,
        tokens=1000,
        seconds=90.0,
        threads=1,
        commit="abc",
        versions={"vrft": "1", "torch": "2", "transformers": "5", "platform": "x"},
    )
