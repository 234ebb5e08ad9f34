"""Two processes over gloo make the update that one process makes of the whole batch.

The prompts are such that processes differ in how many of their groups have signal, in the lengths
of completions, and in whether there is any picture to look at, while the vision tower is trained.
All runs of an engine are made in one launch, one after the other: starting takes longest.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from fakes import outcomes
from fakes.folders import FAKES, ROOT
from fakes.launching import Launch, command, environment, launch
from fakes.outcomes import Record
from fakes.processes import wait_until
from fakes.several_runs import LATER
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from transformers import AutoModelForImageTextToText

from vrft import config, registry
from vrft.config.schema import ModelConfig, TaskConfig
from vrft.errors import UserError
from vrft.objectives.types import Batch, RewardedGroup
from vrft.processes import distributed
from vrft.runs.run_log import read_metrics
from vrft.training import collect, plan, step, stream, train
from vrft.training.run import Run

METHODS = {
    "gpg": ["algorithm.alpha=true", "algorithm.token_mean=global"],
    "grpo": [],
    "ppo": ["algorithm.num_iterations=2"],
    "dr_grpo": [],
}

SHARDED = ("fsdp2", "zero2", "zero3")
ENGINES = [
    pytest.param(name, marks=pytest.mark.distributed) for name in ("torchrun", "ddp", *SHARDED)
]
BEFORE = {"fsdp2": "torchrun", "zero2": "fsdp2", "zero3": "zero2"}
"""The engine whose checkpoint one that shards goes on from; torchrun's is as that of one device."""

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
    """The run of one process by a method, or one of CASES, made once."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("alone") / name
            method = "gpg" if name in CASES else name
            given = [*settings(method, out, 2), *CASES.get(name, [])]
            with pytest.MonkeyPatch.context() as patch:
                if name == "resampled":
                    patch.setattr(step, "collect", collect_by_halves)
                made[name] = train.train(config.load(None, given))
        return made[name]

    return run


SILENT = [f"train-{stream.shuffled_index(12, 42, place)}" for place in range(3, 6)]
"""The samples that the second process draws in the first step."""

CASES = {
    # The second process has no group with signal, and its pass has no part in the loss.
    "silent": [
        *(f"task.settings={{silent: {SILENT}}}", "train.max_steps=2", "train.eval_steps=0"),
        "train.canaries=false",  # a gold answer that earns nothing is one of theirs
    ],
    # Most groups are sampled again, and each process has its own number of them.
    "resampled": [
        *("algorithm.min_informative=0.9", "algorithm.max_resample_rounds=4"),
        *("algorithm.on_exhausted=train", "train.max_steps=2", "train.eval_steps=0"),
    ],
}
"""Settings of further runs by gpg."""


def collect_by_halves(run: Run) -> Batch:
    """What two processes collect, in one: each of them keeps groups of its own half."""
    config, size = run.config.algorithm, run.config.train.prompts_per_device // 2
    halves: list[list[RewardedGroup]] = [[], []]
    for rounds in range(1, config.max_resample_rounds + 2):
        fresh = collect.rewarded_groups(run)
        for half, new in zip(halves, (fresh[:size], fresh[size:]), strict=True):
            with_signal = [group for group in half + new if group.has_signal]
            without = [group for group in new + half if not group.has_signal]
            half[:] = (with_signal + without)[:size]
        groups = halves[0] + halves[1]
        if sum(group.has_signal for group in groups) >= config.min_informative * len(groups):
            return Batch.of(groups, rounds)
    return Batch.of(groups, rounds, exhausted=True)


@pytest.fixture(scope="module")
def launched(
    settings: Settings, alone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Launch]:
    """The launch of an engine with all its cases, made once."""
    made: dict[str, Launch] = {}

    def run(engine: str) -> Launch:
        if engine not in made:
            folder = tmp_path_factory.mktemp(engine)

            def fresh(method: str, name: str = "") -> dict[str, Any]:
                name = name or method
                given = [*settings(method, folder / name, 1), *CASES.get(name, [])]
                return {"name": name, "arguments": given}

            def resumed(run: Path, name: str, *more: str) -> dict[str, Any]:
                copied = [str(run), str(folder / name)]
                return {"name": name, "copy": copied, "arguments": ["--resume", copied[1], *more]}

            cases = [fresh("gpg"), resumed(folder / "gpg", "again"), fresh("dr_grpo")]
            cases += [fresh("gpg", "silent")]
            if engine == "torchrun":
                share = "train.per_device_train_batch_size=1"
                cases += [fresh("ppo"), resumed(alone("gpg"), "moved", share)]
                cases += [fresh("gpg", "resampled")]
                cases += [fresh("gpg", "ended") | {"of": {"1": {"second": "SIGTERM"}}}]
            if engine == "ddp":
                cases += [fresh("gpg", "fewer") | {"of": {"1": {"environment": {"LETTERS": "9"}}}}]
                cases += [fresh("gpg", "hung") | {"of": {"1": {"second": "hang"}}, "last": True}]
                for case in cases:  # all of them: the first sets it for the launch
                    case["arguments"].append("train.ddp_timeout=15")
            if engine in SHARDED:
                cases += [resumed(run(BEFORE[engine]).run("gpg"), "moved")]
            if engine == "zero3":
                cases += [nothing_kept(folder, settings)]
            if engine == "fsdp2":
                mistake = {"of": {"1": {"second": "mistake"}}, "last": True}
                cases += [fresh("gpg", "mistaken") | mistake]
            made[engine] = launch(engine, folder, cases)
        return made[engine]

    return run


def nothing_kept(folder: Path, settings: Settings) -> dict[str, Any]:
    """ZeRO-3 that puts every weight away after use: the shipped one keeps the small ones."""
    deepspeed = json.loads((ROOT / "configs/deepspeed/zero3.json").read_text())
    deepspeed["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    (folder / "zero3.json").write_text(json.dumps(deepspeed))
    packed = [*settings("grpo", folder / "packed", 1), "train.max_tokens_per_micro_batch=120"]
    return {
        "name": "packed",
        "arguments": packed,
        "environment": {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(folder / "zero3.json")},
        "attributes": {"vrft.policy.logprobs.CHUNK": 4},  # devices do so differently often
    }


NAMES = {"torchrun": "DDP by torchrun", "ddp": "DDP", "fsdp2": "FSDP2", "zero2": "ZeRO-2",
         "zero3": "ZeRO-3"}  # fmt: skip
"""The engines as a table names them."""


def assert_same_update(
    one: Path, two: Path, start: Path, record: Record, what: str, engine: str
) -> None:
    """The same weights under the same names but for rounding, and the same metrics.

    ``record`` is told of it, under the name of ``what`` was done.
    """
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
    outcomes.compared(record, what, f"two processes, {NAMES[engine]}", one, two, start)


def test_the_prompts_leave_a_process_without_a_picture() -> None:
    """As the tests below need it: 3 prompts of one process have none, and some of the other do."""
    task = registry.build(TaskConfig(str(FAKES / "mixed_task.py")))
    with_picture = [bool(task.prompt(sample).images) for sample in task.samples("train")]
    for number in range(3):
        drawn = [
            with_picture[stream.shuffled_index(12, 42, 6 * number + place)] for place in range(6)
        ]
        if any(drawn[:3]) != any(drawn[3:]):
            return
    raise AssertionError("choose another seed")


@pytest.mark.slow
def test_two_processes_that_torchrun_starts_make_the_update_of_one(
    settings: Settings,
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """The first of the cases below, for every run of the suite; it tells no outcome again."""
    case = {"name": "gpg", "arguments": settings("gpg", tmp_path / "gpg", 1)}
    two = launch("torchrun", tmp_path, [case]).run("gpg")
    start = model_folder("qwen2_vl")
    assert_same_update(alone("gpg"), two, start, lambda *_: None, "as below", "torchrun")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_make_the_update_of_one(
    engine: str,
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    one, two = alone("gpg"), launched(engine).run("gpg")
    assert any(0 < row["frac_reward_zero_std"] < 1 for row in read_metrics(two / "metrics.jsonl"))
    assert_same_update(
        one, two, model_folder("qwen2_vl"), record_property, "two processes in place of one", engine
    )
    _, loading = AutoModelForImageTextToText.from_pretrained(
        two / "final", output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_process_without_a_group_that_has_signal_takes_part_in_the_update(
    engine: str,
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    """In the first step all groups with signal are the first process's."""
    one, two = alone("silent"), launched(engine).run("silent")
    first = read_metrics(two / "metrics.jsonl")[0]
    assert 0.5 <= first["frac_reward_zero_std"] < 1
    assert_same_update(
        one,
        two,
        model_folder("qwen2_vl"),
        record_property,
        "one process has no group with signal",
        engine,
    )


@pytest.mark.slow
@pytest.mark.distributed
def test_groups_that_are_sampled_again_are_kept_by_the_process_that_has_drawn_them(
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    one, two = alone("resampled"), launched("torchrun").run("resampled")
    rounds = [[row["resample_rounds"] for row in read_metrics(run / "metrics.jsonl")]
              for run in (one, two)]  # fmt: skip
    assert rounds[0] == rounds[1] and max(rounds[0]) > 1
    assert_same_update(
        one,
        two,
        model_folder("qwen2_vl"),
        record_property,
        "groups are sampled again, others by each process",
        "torchrun",
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_of_two_processes_ends_with_the_weights_of_one_never_stopped(
    engine: str, launched: Callable[[str], Launch], record_property: Record
) -> None:
    runs = launched(engine).run("gpg"), launched(engine).run("again")
    whole, resumed = (load_file(run / "final" / "model.safetensors") for run in runs)
    assert all(whole[name].equal(resumed[name]) for name in whole)
    fault = "resumed from its own checkpoint"
    outcomes.compared(record_property, fault, f"two processes, {NAMES[engine]}", *runs)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [ENGINES[0], *ENGINES[2:]])
def test_a_checkpoint_of_another_launch_is_gone_on_from(
    engine: str,
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    """One device's by DDP, DDP's by FSDP2, FSDP2's by ZeRO-2, and ZeRO-2's by ZeRO-3."""
    assert_same_update(
        alone("gpg"),
        launched(engine).run("moved"),
        model_folder("qwen2_vl"),
        record_property,
        "resumed from another launch's checkpoint",
        engine,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", [ENGINES[0], *ENGINES[2:]])
def test_one_device_goes_on_from_a_checkpoint_of_two(
    engine: str,
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    record_property: Record,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(launched(engine).run("gpg"), run, ignore=shutil.ignore_patterns(*LATER))
    now = [f"train.output_dir={run}", "train.per_device_train_batch_size=2"]
    train.train(config.load(str(run / "config.yaml"), now), resume=run)
    assert_same_update(
        alone("gpg"),
        run,
        model_folder("qwen2_vl"),
        record_property,
        "one device resumes from the checkpoint of two processes",
        engine,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_features_for_deeper_layers_are_trained_by_two_processes_as_by_one(
    engine: str,
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    """Qwen3-VL, where a process without pictures has no token to add them to."""
    one, two, start = alone("dr_grpo"), launched(engine).run("dr_grpo"), model_folder("qwen3_vl")
    assert_same_update(
        one, two, start, record_property, "two processes in place of one, DeepStack", engine
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (start, two / "final"))
    # The tiny model adds a second level after the last of its two layers, where no token reads it.
    levels = [name for name in before if "deepstack_merger_list.0." in name]
    assert levels and [name for name in levels if before[name].equal(after[name])] == []


@pytest.mark.slow
@pytest.mark.distributed
def test_a_critic_is_trained_by_two_processes_as_by_one(
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    runs = alone("ppo"), launched("torchrun").run("ppo")
    assert_same_update(
        *runs,
        model_folder(FAMILIES["ppo"]),
        record_property,
        "two processes in place of one, ppo",
        "torchrun",
    )
    critics = [load_file(run / "final" / "critic.safetensors") for run in runs]
    assert critics[0]["weight"].norm() > 0
    assert (critics[0]["weight"] - critics[1]["weight"]).norm() < 1e-5 * critics[0]["weight"].norm()


@pytest.mark.slow
@pytest.mark.distributed
def test_a_signal_to_one_process_makes_all_save_and_stop(
    launched: Callable[[str], Launch], record_property: Record
) -> None:
    """SIGTERM, 15, within the second step."""
    rows = launched("torchrun").outcome("ended")
    assert [row["status"] for row in rows] == [128 + 15] * 2
    assert "stopped after step 2; go on with" in rows[0]["said"]
    run = launched("torchrun").folder / "ended"
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (run / "final").exists()
    outcomes.ended(
        record_property,
        "SIGTERM to one of two processes",
        f"two processes, {NAMES['torchrun']}",
        "all save after the same step and stop",
    )


@pytest.mark.slow
@pytest.mark.distributed
def test_processes_that_see_other_data_are_refused_before_the_first_step(
    launched: Callable[[str], Launch], record_property: Record
) -> None:
    rows = launched("ddp").outcome("fewer")
    assert [row["status"] for row in rows] == [2, 2]
    assert rows[0]["said"] == rows[1]["said"] == (
        "vrft: error: process 1 does not see what process 0 sees: 3 removed: 'train-9', 'train-10',"
        " 'train-11'; give all machines the same files and command\n"
    )  # fmt: skip
    assert not (launched("ddp").folder / "fewer").exists()
    outcomes.ended(
        record_property,
        "processes see other data",
        "two processes, DDP",
        "refused by name before the first step",
    )


@pytest.mark.slow
@pytest.mark.distributed
def test_a_process_that_hangs_ends_the_others_after_ddp_timeout(
    launched: Callable[[str], Launch], record_property: Record
) -> None:
    """The launcher ends the process that hangs."""
    said = launched("ddp").said
    assert re.search(
        r"vrft: error: process 0 has waited for the others for train\.ddp_timeout=15 seconds: "
        r"process 1 is in \S*several_runs\.py:\d+ \(met\)",
        said,
    ), said
    assert "Traceback" not in said.split("process 0 has waited")[0]
    outcomes.ended(
        record_property,
        "one process is late by train.ddp_timeout",
        "two processes, DDP",
        "the other one ends, and says where that one is",
    )


@pytest.mark.slow
@pytest.mark.distributed
def test_a_process_that_fails_ends_the_others_with_its_error_first(
    launched: Callable[[str], Launch], record_property: Record
) -> None:
    said = launched("fsdp2").said
    cause = "vrft: error: a mistake of this process alone"
    assert cause in said and "Traceback" not in said[: said.index(cause)], said
    assert "[rank" not in said  # how torch begins a process's traceback
    others = "vrft: error: process 0 ends, as process 1 has ended: a mistake of this process alone"
    assert others not in said or said.index(cause) < said.index(others)
    outcomes.ended(
        record_property,
        "one process fails",
        "two processes, FSDP2",
        "all end, its own error first and short",
    )


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(
    ("met", "line"),
    [
        ("SIGSTOP", "vrft: error: process 0: process 1 has given no sign of life for 3 seconds"),
        ("lock", "vrft: error: process 1: it has hung for 6 seconds in "),
    ],
)
def test_a_process_that_is_stopped_or_hangs_ends_the_others(
    met: str, line: str, settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    """With signs of life more often than by default, to find it in seconds."""
    case = {
        "name": "gpg",
        "arguments": [*settings("gpg", tmp_path / "gpg", 1), "train.hang_timeout=6"],
        "attributes": {"vrft.processes.peers.BEAT": 0.3},
        "of": {"1": {"second": met}},
    }
    (tmp_path / "cases.json").write_text(json.dumps([case]))
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen(
            command("torchrun", tmp_path / "cases.json"), env=environment(), cwd=ROOT,
            stderr=said, stdout=said,
        )  # fmt: skip
    try:
        wait_until(lambda: line in (tmp_path / "said").read_text(), 100)
        assert "Traceback" not in (tmp_path / "said").read_text().split(line)[0]
        if met == "lock":
            wait_until(lambda: running.poll() is not None, 100)
            said = (tmp_path / "said").read_text()
            assert re.search(r"seconds in \S*several_runs\.py:\d+ \(met\), and computes", said)
            others = "vrft: error: process 0 ends, as process 1 has ended: it has hung"
            assert others not in said or said.index(line) < said.index(others)
    finally:
        # The launcher would wait half a minute for the process that cannot hear its signal.
        for file in tmp_path.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
        running.wait()
    fault, end = {
        "SIGSTOP": ("SIGSTOP to one process", "the other one ends, and says which was stopped"),
        "lock": ("one process hangs in a lock", "it ends all, and says first where it hangs"),
    }[met]
    outcomes.ended(record_property, fault, f"two processes, {NAMES['torchrun']}", end)


@pytest.mark.slow
@pytest.mark.distributed
def test_processes_may_differ_in_passes_and_in_chunks_of_logits_where_weights_are_gathered(
    launched: Callable[[str], Launch],
    alone: Callable[[str], Path],
    model_folder: Callable[[str], Path],
    record_property: Record,
) -> None:
    """With the other family, a reference model, and micro-batches of up to 120 tokens."""
    two = launched("zero3").run("packed")
    assert_same_update(
        alone("grpo"),
        two,
        model_folder("qwen2_5_vl"),
        record_property,
        "passes of other sizes, no weight kept",
        "zero3",
    )


@pytest.mark.parametrize(("engine", "name"), [("DEEPSPEED", "DeepSpeed"), ("FSDP", "FSDP2")])
def test_fine_tuning_with_sharded_weights_is_refused(
    engine: str, name: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    made = config.load(None, [*settings("gpg", tmp_path / "run", 1), "algorithm=sft"])
    with pytest.raises(UserError, match=f"algorithm=sft holds all weights .* {name} would shard"):
        plan.check_settings(made, {})


def test_a_second_run_of_a_process_may_have_another_precision() -> None:
    for dtype, precision in (("bfloat16", "bf16"), ("float32", "no"), ("float16", "fp16")):
        made = distributed.accelerator(ModelConfig(dtype=dtype))  # type: ignore[arg-type]
        assert made.mixed_precision == precision


def test_a_trl_without_its_hooks_for_zero3_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(callable, distributed.zero3_hooks()))
    monkeypatch.delattr("trl.models.utils.remove_hooks")
    with pytest.raises(UserError, match=r"ZeRO-3 needs TRL's .* use configs/accelerate/zero2.yaml"):
        distributed.zero3_hooks()


@pytest.mark.slow
def test_fsdp2_in_half_precision_returns_and_adds_up_float32(tmp_path: Path) -> None:
    """-2.3456789 would be -2.34375 in bfloat16, and 1 + 2**-8 would be 1."""
    launcher = ["torch.distributed.run", "--nproc_per_node=1", "--standalone"]
    script = [str(FAKES / "fsdp_in_half_precision.py"), str(tmp_path / "told.json")]
    subprocess.run(
        [sys.executable, "-m", *launcher, *script],
        env=environment(), cwd=ROOT, timeout=120, check=True,
    )  # fmt: skip
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["computes in"], told["type"]) == ("torch.bfloat16", "torch.float32")
    assert told["returned"] == pytest.approx(-2.3456789, abs=1e-6)
    assert told["stepped"] == -(1 + 2**-8)


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


def test_weights_are_taken_without_deepspeed_where_nothing_is_sharded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it is installed, its import takes seconds, and it logs to standard output."""
    monkeypatch.setattr("accelerate.utils.other.is_deepspeed_available", lambda: True)
    monkeypatch.setitem(sys.modules, "deepspeed", None)  # whoever imports it fails
    accelerator = distributed.accelerator(ModelConfig())
    module = torch.nn.Linear(2, 1)
    with pytest.raises(ImportError):
        accelerator.get_state_dict(module)
    weights = distributed.state_dict(accelerator, module)
    assert weights is not None and weights.keys() == {"weight", "bias"}
    assert weights["weight"].data_ptr() == module.weight.data_ptr()


@pytest.mark.parametrize(
    ("stage", "main", "copied"),
    [(2, True, True), (2, False, False), (3, True, True), (3, False, True)],
)
def test_zero2_copies_the_weights_on_the_main_process_alone(
    stage: int, main: bool, copied: bool
) -> None:
    """ZeRO-3 gathers them, in which all processes take part."""
    weights = {"weight": torch.zeros(1)}
    accelerator: Any = SimpleNamespace(
        distributed_type=DistributedType.DEEPSPEED,
        state=SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=stage)),
        is_main_process=main,
        get_state_dict=lambda module: weights,
    )
    expected = weights if copied else None
    assert distributed.state_dict(accelerator, torch.nn.Linear(2, 1)) is expected
