"""The plan of a dry run says what a run will do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.bigram import CONFIG, Echo, with_algorithm
from fakes.folders import FAKES
from peft import LoraConfig, get_peft_model

from vrft import config
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.training.plan_text import plan_text, rewards_text

LETTERS = FAKES / "letters_task.py"


def plan_of(model: Path, *settings: str) -> str:
    return plan_text(config.load(None, [f"task={LETTERS}", f"model={model}", *settings]))


@pytest.mark.parametrize(
    ("method", "models"),
    [
        ("gpg", "policy"),
        ("grpo", "policy, reference"),
        ("ppo", "policy, reference, critic (shared)"),
    ],
)
def test_the_plan_names_the_models_of_the_method(
    method: str, models: str, model_folder: Callable[[str], Path]
) -> None:
    text = plan_of(model_folder("qwen2_vl"), f"algorithm={method}")
    assert f"method     {method}, which holds: {models}\n" in text


@pytest.mark.parametrize(
    ("every", "told", "noted"),
    [
        (2, "every 2 step(s) and after the last step", False),
        (3, "after the last step", True),  # the third is the last
        (50, "after the last step", True),
    ],
)
def test_the_plan_says_when_a_run_is_evaluated_and_what_is_kept(
    every: int,
    told: str,
    noted: bool,
    model_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluated = ("train.max_steps=3", "eval.split=val", f"train.eval_steps={every}")
    model = model_folder("qwen2_vl")
    assert f"\nevaluated  on eval.split=val, {told}\n" in plan_of(model, *evaluated)
    assert "train.eval_steps" not in capsys.readouterr().err
    text = plan_of(model, *evaluated, "train.metric_for_best_model=different")
    assert f"{told}; the checkpoint with the best eval_different is kept\n" in text
    note = f"note: train.eval_steps={every}: the run has 3 step(s), of which the last alone is"
    assert (note in capsys.readouterr().err) == noted
    assert "evaluated" not in plan_of(model)


def test_the_rewards_are_named_with_their_weights() -> None:
    doubled = with_algorithm(CONFIG, reward_weights={"share": 2.0})
    assert rewards_text(CONFIG, Echo()) == "share"
    assert rewards_text(doubled, Echo()) == "share x 2"


@pytest.mark.parametrize(
    ("settings", "tried"),
    [([], True), (["train.canaries=false"], False), (["algorithm=sft"], False)],
)
def test_a_dry_run_says_which_canaries_it_has_tried(
    settings: list[str], tried: bool, model_folder: Callable[[str], Path]
) -> None:
    text = plan_of(model_folder("qwen2_vl"), *settings)
    line = "canaries   gold answers of the first 1 prompt(s) tried; those that need answers of "
    assert (line in text) is tried
    assert ("canaries" in text) is tried


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_dry_run_refuses_an_adapter_that_no_server_can_be_sent(
    model_folder: Callable[[str], Path], load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    base = load_tiny("qwen2").core
    base.name_or_path = str(model_folder("qwen2"))
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"]))
    adapted.save_pretrained(str(tmp_path))
    served = ("rollout.engine=vllm", "rollout.vllm.url=http://127.0.0.1:8000")
    with pytest.raises(UserError, match="with a change of embed_tokens cannot be sent to a server"):
        plan_of(tmp_path, *served)
