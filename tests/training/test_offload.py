"""DeepSpeed with the optimizer in the machine's memory: the update of the same stage without it.

On a CPU both memories are one, and what is moved between them is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fakes.folders import FAKES, ROOT
from fakes.launching import launch
from safetensors.torch import load_file

STAGES = ("zero2", "zero3")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_a_configuration_differs_from_its_stage_in_where_the_optimizer_is(stage: str) -> None:
    launches = [ROOT / f"configs/accelerate/{stage}{end}.yaml" for end in ("", "_offload")]
    plain, offloaded = map(read, launches)
    engines = [launch["deepspeed_config"].pop("deepspeed_config_file")
               for launch in (plain, offloaded)]  # fmt: skip
    assert plain == offloaded
    plain, offloaded = (read(ROOT / name) for name in engines)
    in_machine = {"device": "cpu", "pin_memory": True}
    assert offloaded["zero_optimization"].pop("offload_optimizer") == in_machine
    if stage == "zero3":
        assert offloaded["zero_optimization"].pop("offload_param") == in_machine
    assert offloaded.pop("zero_force_ds_cpu_optimizer") is False
    assert plain == offloaded


@pytest.mark.distributed
@pytest.mark.parametrize("stage", STAGES)
def test_steps_are_those_of_the_stage_without_offload_and_a_resumed_run_goes_on_bit_by_bit(
    stage: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = [
        f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}",
        "algorithm.num_generations=4", "sampling.max_completion_length=3", "train.max_steps=3",
        "train.save_steps=2", "train.learning_rate=1e-3", "train.adam_epsilon=1e-3",
    ]  # fmt: skip

    def case(name: str) -> dict[str, Any]:
        return {"name": name, "arguments": [*settings, f"train.output_dir={tmp_path / name}"]}

    copied = [str(tmp_path / name) for name in ("whole", "again")]
    again = {"name": "again", "copy": copied, "arguments": ["--resume", copied[1]]}
    runs = [launch(stage, tmp_path, [case("plain")]).run("plain")]
    offload = launch(f"{stage}_offload", tmp_path, [case("whole"), again])
    runs += [offload.run(name) for name in ("whole", "again")]
    folders = (model_folder("qwen2_vl"), *(run / "final" for run in runs))
    start, plain, offloaded, resumed = (load_file(f / "model.safetensors") for f in folders)
    assert max(float((plain[name] - start[name]).abs().max()) for name in start) > 1e-3
    for name, weight in plain.items():
        assert torch.allclose(offloaded[name], weight, rtol=0, atol=1e-6), name
        assert torch.equal(resumed[name], offloaded[name]), name
