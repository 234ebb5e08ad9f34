import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from vrft.config.loading import load
from vrft.models import conversation
from vrft.runs.model_card import Facts, asking_lines, cell, interval, model_card, vllm_line
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


def head(facts: Facts) -> Any:
    """Return the entries at the head of a card, as the hub reads them."""
    return yaml.safe_load(model_card(facts).split("---\n", 2)[1])


def test_the_head_of_a_card_is_what_the_hub_reads() -> None:
    assert head(FACTS) == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["vrft", "gpg"],
        "base_model": "Qwen/Qwen2.5-VL-3B-Instruct",
    }


@pytest.mark.parametrize(
    "base",
    [
        "demo",
        str(Path(__file__).parent),
        # folders of the machine on which it was trained
        *("/mnt/there/Qwen2-VL-2B", "../models/qwen", "models/qwen/2b", "C:\\models\\qwen"),
    ],
)
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


def test_a_card_does_not_say_in_which_folders_the_files_were() -> None:
    made = load(
        None, ["task=/home/me/own.py", "task.data_dir=/home/me/q.jsonl", "model=/home/me/b"]
    )
    for adapter in (False, True):
        card = model_card(replace(FACTS, config=made, base=made.model.name, adapter=adapter))
        assert "/home" not in card
        assert "Task `own.py`" in card and "| `task.data_dir` | q.jsonl |" in card and "`b`" in card


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


def test_a_table_says_which_scores_were_asked_otherwise(tmp_path: Path) -> None:
    report = {
        "benchmark": "lisa_val",
        "n": 9,
        "metrics": {"iou": dict.fromkeys(["mean", "low", "high"])},
    }
    (tmp_path / "scores.json").write_text(json.dumps(report))
    settings = {"blank_images": True, "limit": 9}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    card = model_card(replace(FACTS, scores=(tmp_path / "scores.json",)))
    assert "| lisa_val, pictures blanked, its first samples only | iou | – | 9 |" in card


def test_a_card_names_the_licence_where_it_is_known() -> None:
    assert "license" not in head(FACTS) and "look them up" in model_card(FACTS)
    known = replace(FACTS, licence="apache-2.0")
    assert head(known)["license"] == "apache-2.0"
    assert "training began with: apache-2.0." in model_card(known)


def test_a_card_says_how_pictures_are_seen() -> None:
    card = model_card(replace(FACTS, areas=(3136, 1003520)))
    assert "an area of 3,136 to 1,003,520 pixels" in card


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("demo", "demo"),  # as it is written behind model=
        ("a|b", r"a\|b"),  # a bar would begin the next column
        ("a\nb", '"a\\nb"'),
        ("", '""'),
        (3e-6, "3e-06"),
        (None, "null"),
    ],
)
def test_a_value_is_one_cell_of_the_table(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_card_has_the_lines_that_load_and_serve_the_model() -> None:
    assert "AutoModelForImageTextToText.from_pretrained('owl-finder')" in model_card(FACTS)
    adapter = model_card(replace(FACTS, adapter=True))
    assert "AutoPeftModel" in adapter and "vllm serve" not in adapter
    assert "AutoModelForCausalLM" in model_card(replace(FACTS, space=None, prompt=None))


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        # one picture, and no room for videos, which vLLM would keep free
        ({}, """vllm serve out --limit-mm-per-prompt '{"image": 1, "video": 0}'"""),
        # vLLM would serve weights in float32 in half precision
        ({"space": None, "dtype": "float32"}, "vllm serve out --dtype float32"),
        ({"space": None, "longest": 4352}, "vllm serve out --max-model-len 4352"),
    ],
)
def test_the_line_of_a_server_says_what_the_model_needs(facts: dict[str, Any], line: str) -> None:
    assert vllm_line("out", replace(FACTS, **facts)) == line


def test_a_folder_with_a_blank_in_its_name_is_one_word_of_the_line() -> None:
    assert vllm_line("my models/a", replace(FACTS, space=None)) == "vllm serve 'my models/a'"


@pytest.mark.parametrize("has_vision", [True, False])
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt('Where\'s "it"?', (Path("a.jpg"), Path("b.jpg")), system="Be brief."),
        Prompt("now", turns=(Turn("user", "first"), Turn("assistant", "yes"))),
        Prompt("what", prefill="<think>"),
        Prompt("1 + 1 =", raw=True, prefill=" "),
    ],
)
def test_the_lines_that_ask_write_the_prompt_as_it_was_trained(
    prompt: Prompt, has_vision: bool
) -> None:
    if prompt.images and not has_vision:
        prompt = replace(prompt, images=())
    code = asking_lines(replace(FACTS, prompt=prompt, space="pixels" if has_vision else None))
    asked: dict[str, Any] = {}

    class Processor:
        def apply_chat_template(self, messages: Any, **options: bool) -> str:
            asked["messages"] = messages
            assert options == {"tokenize": False, "add_generation_prompt": True}
            return "turns"

    # From the processor on, up to the pictures, which nobody opens here.
    lines = [
        line for line in code.splitlines() if line.startswith(("messages", "text", " ", "]", ")"))
    ]
    names: dict[str, Any] = {"processor": Processor()}
    exec("\n".join(lines), names)
    if prompt.raw:
        assert names["text"] == conversation.raw_text(prompt)
    else:
        assert names["text"] == "turns" + prompt.prefill
        assert asked["messages"] == conversation.chat_messages(prompt, has_vision=has_vision)
    # The template has written the special tokens of its text.
    assert ("add_special_tokens=False" in code) == (not prompt.raw)
    assert ("images=pictures" in code) == bool(prompt.images)
    assert "max_new_tokens=256" in code  # sampling.max_completion_length
