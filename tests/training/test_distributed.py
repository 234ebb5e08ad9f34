"""Two processes over gloo make the update that one process makes of the whole batch.

The prompts are such that processes differ in how many of their groups have signal, in the lengths
of completions, and in whether there is any picture to look at, while the vision tower is trained.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from fakes.folders import FAKES, ROOT
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from transformers import AutoModelForImageTextToText

from vrft import config, registry
from vrft.config.schema import ModelConfig, TaskConfig
from vrft.errors import UserError
from vrft.runs.run_log import read_metrics
from vrft.training import distributed, stream, train

METHODS = {
    "gpg": ["algorithm.alpha=true", "algorithm.token_mean=global"],
    "grpo": [],
    "ppo": ["algorithm.num_iterations=2"],
    "dr_grpo": [],
}

ENGINES = [
    "torchrun",
    *(pytest.param(name, marks=pytest.mark.distributed) for name in
      ("ddp", "fsdp2", "zero2", "zero3")),
]  # fmt: skip

FAMILIES = {"gpg": "qwen2_vl", "grpo": "qwen2_5_vl", "ppo": "qwen3_5", "dr_grpo": "qwen3_vl"}

Settings = Callable[[str, Path, int], list[str]]


@pytest.fixture(scope="module")
def settings(model_folder: Callable[[str], Path]) -> Settings:
    """Three steps; many groups have no signal, not equally many on both processes."""

    def make(method: str, out: Path, prompts: int) -> list[str]:
        return [
            f"algorithm={method}",
            *METHODS[method],
            f"task={FAKES / 'mixed_task.py'}",
            f"model={model_folder(FAMILIES[method])}",
            "algorithm.num_generations=2",
            "sampling.max_completion_length=5",
            f"train.per_device_train_batch_size={prompts}",
            "train.gradient_accumulation_steps=3",
            "train.max_steps=3",
            "train.save_steps=2",
            "train.eval_steps=2",
            "eval.split=val",
            "eval.limit=2",
            "train.learning_rate=1e-3",
            "train.adam_epsilon=1e-3",  # without it Adam turns rounding of a zero into a full step
            f"train.output_dir={out}",
        ]

    return make


@pytest.fixture(scope="module")
def alone(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of one process by a method, made once."""
    made: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in made:
            out = tmp_path_factory.mktemp("alone") / method
            made[method] = train.train(config.load(None, settings(method, out, 2)))
        return made[method]

    return run


def launch(engine: str, *arguments: str, program: tuple[str, ...] = ("-m", "vrft")) -> None:
    """``vrft train`` in two processes by torchrun, a shipped configuration's name, or a file."""
    if engine == "torchrun":
        launcher = ["torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    else:
        file = engine if engine.endswith(".yaml") else f"configs/accelerate/{engine}.yaml"
        launcher = ["accelerate.commands.launch", f"--config_file={file}", "--main_process_port=0"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *program, "train", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def assert_same_update(one: Path, two: Path, start: Path) -> None:
    """The same weights under the same names but for rounding, and the same metrics."""
    before, first, second = (
        load_file(folder / "model.safetensors") for folder in (start, one / "final", two / "final")
    )
    assert first.keys() == second.keys()
    moved = sum(float((first[name] - before[name]).square().sum()) for name in before) ** 0.5
    apart = sum(float((first[name] - second[name]).square().sum()) for name in before) ** 0.5
    assert apart < 1e-5 * moved
    keys = ("reward", "loss", "alpha", "frac_reward_zero_std", "num_tokens", "grad_norm")
    for a, b in zip(*(read_metrics(run / "metrics.jsonl") for run in (one, two)), strict=True):
        assert [a[key] for key in keys] == pytest.approx([b[key] for key in keys], 1e-5, abs=1e-5)
        assert a.get("eval_different") == b.get("eval_different")


def test_the_prompts_leave_a_process_without_a_picture() -> None:
    """As the tests below need it: 3 prompts of one process have none, and some of the other do."""
    task = registry.build(TaskConfig(str(FAKES / "mixed_task.py")))
    with_picture = [bool(task.prompt(sample).images) for sample in task.samples("train")]
    for step in range(3):
        drawn = [
            with_picture[stream.shuffled_index(12, 42, 6 * step + place)] for place in range(6)
        ]
        if any(drawn[:3]) != any(drawn[3:]):
            return
    raise AssertionError("choose another seed")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_make_the_update_of_one(
    engine: str,
    settings: Settings,
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """And where the engine shards the weights, a resumed run goes on with the same ones."""
    one, two = alone("gpg"), tmp_path / "two"
    launch(engine, *settings("gpg", two, 1))
    assert any(0 < row["frac_reward_zero_std"] < 1 for row in read_metrics(two / "metrics.jsonl"))
    assert_same_update(one, two, model_folder("qwen2_vl"))
    _, loading = AutoModelForImageTextToText.from_pretrained(
        two / "final", output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    if engine in ("torchrun", "ddp"):  # resumed as one process is
        return
    whole = load_file(two / "final" / "model.safetensors")
    for later in ("checkpoint-3", "final"):
        shutil.rmtree(two / later)
    launch(engine, "--resume", str(two))
    resumed = load_file(two / "final" / "model.safetensors")
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_features_for_deeper_layers_are_trained_by_two_processes_as_by_one(
    engine: str,
    settings: Settings,
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Qwen3-VL, where a process without pictures has no token to add them to."""
    one, two, start = alone("dr_grpo"), tmp_path / "two", model_folder("qwen3_vl")
    launch(engine, *settings("dr_grpo", two, 1))
    assert_same_update(one, two, start)
    before, after = (load_file(folder / "model.safetensors") for folder in (start, two / "final"))
    # The tiny model adds a second level after the last of its two layers, where no token reads it.
    levels = [name for name in before if "deepstack_merger_list.0." in name]
    assert levels and [name for name in levels if before[name].equal(after[name])] == []


@pytest.mark.slow
def test_a_critic_is_trained_by_two_processes_as_by_one(
    settings: Settings,
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    launch("torchrun", *settings("ppo", tmp_path / "two", 1))
    assert_same_update(alone("ppo"), tmp_path / "two", model_folder(FAMILIES["ppo"]))
    critics = [load_file(run / "final" / "critic.safetensors") for run in
               (alone("ppo"), tmp_path / "two")]  # fmt: skip
    assert critics[0]["weight"].norm() > 0
    assert (critics[0]["weight"] - critics[1]["weight"]).norm() < 1e-5 * critics[0]["weight"].norm()


@pytest.fixture
def nothing_kept(tmp_path: Path) -> Path:
    """ZeRO-3 that puts every weight away after use: the shipped one keeps the small ones."""
    deepspeed = json.loads((ROOT / "configs/deepspeed/zero3.json").read_text())
    deepspeed["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    (tmp_path / "zero3.json").write_text(json.dumps(deepspeed))
    accelerate = yaml.safe_load((ROOT / "configs/accelerate/zero3.yaml").read_text())
    accelerate["deepspeed_config"]["deepspeed_config_file"] = str(tmp_path / "zero3.json")
    (tmp_path / "zero3.yaml").write_text(yaml.safe_dump(accelerate))
    return tmp_path / "zero3.yaml"


@pytest.mark.slow
@pytest.mark.distributed
def test_processes_may_differ_in_passes_and_in_chunks_of_logits_where_weights_are_gathered(
    nothing_kept: Path,
    settings: Settings,
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """With the other family, a reference model, and micro-batches of up to 120 tokens."""
    packed = [*settings("grpo", tmp_path / "two", 1), "train.max_tokens_per_micro_batch=120"]
    launch(str(nothing_kept), *packed, program=(str(FAKES / "small_chunks.py"),))
    assert_same_update(alone("grpo"), tmp_path / "two", model_folder("qwen2_5_vl"))


def test_fine_tuning_on_several_processes_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vrft.sft import fine_tune

    monkeypatch.setenv("WORLD_SIZE", "2")
    made = config.load(None, [*settings("gpg", tmp_path / "run", 1), "algorithm=sft"])
    with pytest.raises(UserError, match="algorithm=sft runs in one process, not in 2"):
        fine_tune.train(made)


def test_a_second_run_of_a_process_may_have_another_precision() -> None:
    for dtype, precision in (("bfloat16", "bf16"), ("float32", "no"), ("float16", "fp16")):
        made = distributed.accelerator(ModelConfig(dtype=dtype))  # type: ignore[arg-type]
        assert made.mixed_precision == precision


def test_a_deepspeed_that_keeps_its_weights_elsewhere_is_refused() -> None:
    other = SimpleNamespace(optimizer=SimpleNamespace(optimizer=None))
    with pytest.raises(UserError, match="this DeepSpeed's SimpleNamespace has no float32 weights"):
        distributed.master_weights(other)


def test_the_weights_that_deepspeed_steps_are_found_in_every_stage() -> None:
    for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        inner, part = object(), torch.zeros(3)
        zero = SimpleNamespace(optimizer=inner, **{name: [part]})
        assert distributed.master_weights(SimpleNamespace(optimizer=zero)) == (inner, [part])


def test_a_trl_without_its_hooks_for_zero3_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(callable, distributed.zero3_hooks()))
    monkeypatch.delattr("trl.models.utils.remove_hooks")
    with pytest.raises(UserError, match=r"ZeRO-3 needs TRL's .* use configs/accelerate/zero2.yaml"):
        distributed.zero3_hooks()


def test_an_fsdp2_whose_root_cannot_be_chosen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sharded(FSDPModule, torch.nn.Module):
        """As ``fully_shard`` makes of a module, without any devices."""

        def __new__(cls) -> Sharded:  # FSDPModule's own unwraps what it shards
            return torch.nn.Module.__new__(cls)

        def _get_fsdp_state(self) -> object:
            return object()

    accelerator = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=None))
    with pytest.raises(UserError, match="cannot be told which module is the root"):
        distributed.check_engine(accelerator, Sharded(), None)  # type: ignore[arg-type]


def test_an_update_without_pictures_leaves_no_weight_without_a_gradient() -> None:
    """3 and 4 have a norm of 5; the weight that no pass reached counts as 0."""
    module = torch.nn.ParameterList([torch.zeros(2), torch.zeros(1)])
    module[0].grad = torch.tensor([3.0, 4.0])
    accelerator = distributed.accelerator(ModelConfig())
    assert distributed.clip(accelerator, module, 1.0) == pytest.approx(5.0)
    assert module[0].grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)
    assert module[1].grad is not None and module[1].grad.tolist() == [0.0]
    assert distributed.clip(accelerator, module, 0.0) == pytest.approx(1.0)  # 0: no limit
    assert module[0].grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)
