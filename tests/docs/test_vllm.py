"""The page docs/vllm.md: its command is one that can be given, and its names are the run's own."""

from __future__ import annotations

import dataclasses
import re
import shlex

from fakes.folders import ROOT

from vrft import config
from vrft.config.rollout import RolloutConfig, VllmConfig
from vrft.objectives import objective
from vrft.rollouts.rollouts import PROBED
from vrft.training.checkpoint import ROLLOUTS

PAGE = (ROOT / "docs" / "vllm.md").read_text(encoding="utf-8")


def test_the_first_run_is_a_configuration() -> None:
    text = PAGE.replace("\\\n", " ")
    (line,) = re.findall(r"^    (vrft train --config .*)$", text, re.MULTILINE)
    _, _, _, name, *settings = shlex.split(line)
    made = config.load(name, settings)
    assert made.rollout.engine == "vllm" and made.rollout.vllm.python == ".venv-vllm/bin/python"
    prompts = made.train.per_device_train_batch_size
    assert made.rollout.vllm.max_num_seqs == prompts * made.algorithm.num_generations


def test_settings_and_metrics_of_the_page_are_those_of_a_run() -> None:
    names = {f"rollout.{field.name}" for field in dataclasses.fields(RolloutConfig)}
    names |= {f"rollout.vllm.{field.name}" for field in dataclasses.fields(VllmConfig)}
    mentioned = {name.rstrip(".") for name in re.findall(r"\brollout\.[a-z_.]+", PAGE)}
    assert mentioned <= names and len(mentioned) > 8
    source = (ROOT / "vrft" / "rollouts" / "rollouts.py").read_text(encoding="utf-8")
    for metric in re.findall(r"`(rollout/[a-z_/]+)`", PAGE):
        assert f'"{metric}"' in source
    assert objective.LOGP_DIFFERENCE in PAGE and ROLLOUTS in PAGE
    assert PROBED[0] == 4 and "on four short completions" in PAGE
