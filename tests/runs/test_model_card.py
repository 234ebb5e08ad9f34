import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from vrft.config.loading import load
from vrft.runs.model_card import Facts, interval, model_card
from vrft.types import Prompt, Turn

FACTS = Facts(
    name="owl-finder",
    base="Qwen/Qwen2.5-VL-3B-Instruct",
    family="qwen2_5_vl",
    space="pixels",
    adapter=False,
    dtype="bfloat16",
    config=load(None, ["task=lisa_grounding", "train.learning_rate=3e-6"]),
    samples=12,
    prompt=Prompt("<image>Find the owl.", ("a.jpg",), system="Be brief."),  # type: ignore[arg-type]
    versions={"vrft": "0.1.0"},
)


def test_the_head_of_a_card_is_what_the_hub_reads() -> None:
    _, head, _ = model_card(FACTS).split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["vrft", "gpg"],
        "base_model": "Qwen/Qwen2.5-VL-3B-Instruct",
    }


@pytest.mark.parametrize("base", ["demo", str(Path(__file__).parent)])
def test_a_base_that_the_hub_does_not_have_is_not_named_to_it(base: str) -> None:
    assert "base_model" not in model_card(replace(FACTS, base=base))


def test_a_card_says_how_to_ask_and_how_boxes_are_written() -> None:
    card = model_card(FACTS)
    assert "    system: Be brief.\n    user: <image>Find the owl.\n" in card
    assert "pixels of the picture as the processor has resized it" in card
    turns = replace(FACTS, prompt=Prompt("now", turns=(Turn("user", "first"),)), space=None)
    assert "    user: first\n    user: now\n" in model_card(turns)
    assert "Coordinates" not in model_card(turns)


def test_a_card_names_data_method_and_settings_that_are_not_the_defaults() -> None:
    card = model_card(FACTS)
    assert "Task `lisa_grounding`, 12 samples; method `gpg`. With vrft 0.1.0." in card
    assert "| `train.learning_rate` | 3e-06 |" in card and "train.seed" not in card


def test_a_card_has_the_scores_with_their_intervals(tmp_path: Path) -> None:
    report = {
        "benchmark": "lisa_val",
        "n": 200,
        "metrics": {
            "iou": {"mean": 0.5, "low": 0.4213, "high": 0.5787, "n": 200},
            "acc": {"mean": 0.25, "low": None, "high": None, "n": 200},
        },
    }
    (tmp_path / "scores.json").write_text(json.dumps(report))
    card = model_card(replace(FACTS, scores=(tmp_path / "scores.json",)))
    assert "| lisa_val | iou | 50.0 [42.1, 57.9] | 200 |" in card
    assert "| lisa_val | acc | 25.0 | 200 |" in card
    assert "## Scores" not in model_card(FACTS)


def test_a_mean_that_is_not_known_is_a_dash() -> None:
    assert interval({"mean": None, "low": None, "high": None}) == "–"


def test_a_card_has_the_lines_that_load_and_serve_the_model() -> None:
    assert "AutoModelForImageTextToText.from_pretrained('owl-finder')" in model_card(FACTS)
    assert "vllm serve owl-finder --limit-mm-per-prompt '{\"image\": 1}'" in model_card(FACTS)
    adapter = model_card(replace(FACTS, adapter=True))
    assert "AutoPeftModel" in adapter and "vllm serve" not in adapter
    assert "AutoModelForCausalLM" in model_card(replace(FACTS, space=None))
