"""The model card: the README.md of a model that is handed on, made of a run's own records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vrft import paths
from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.types import Prompt, Space

SPACES: Mapping[Space, str] = {
    "thousandths": "thousandths of the picture's width and height, from 0 to 1000",
    "pixels": "pixels of the picture as the processor has resized it",
}


@dataclass(frozen=True)
class Facts:
    """The facts of a model that is handed on, from which its card is written."""

    name: str
    base: str
    """The model that training began with."""
    family: str
    space: Space | None
    """How the model writes coordinates; None for a model without pictures."""
    adapter: bool
    dtype: str
    config: Config | None = None
    samples: int = 0
    """The samples of the training split; 0 where the data could not be read."""
    prompt: Prompt | None = None
    """The prompt of the first sample, as the model was asked."""
    scores: Sequence[Path] = ()
    """Files of scores of evaluations of this model."""
    versions: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: Facts) -> str:
    """Return the card as Markdown, with the hub's entries at its head.

    Its parts are prompt, data and method, scores with their intervals, and how to serve it.
    """
    parts = [
        front(facts),
        f"# {facts.name}\n",
        opening(facts),
        *prompt_part(facts),
        *method_part(facts),
        *scores_part(facts),
        use_part(facts),
        "## Licence\n",
        "That of the model which training began with, and of the data: look them up before you "
        "publish this folder, and write the licence into the first lines of this file.\n",
    ]
    return "\n".join(parts)


def front(facts: Facts) -> str:
    """Return the entries that the hub reads, as YAML between dashes."""
    method = facts.config.algorithm.name if facts.config else ""
    tree: dict[str, Any] = {
        "library_name": "peft" if facts.adapter else "transformers",
        "pipeline_tag": "image-text-to-text" if facts.space else "text-generation",
        "tags": [tag for tag in ("vrft", method) if tag],
    }
    if facts.base not in paths.EMBEDDED and not Path(facts.base).exists():  # a name of the hub
        tree["base_model"] = facts.base
    return f"---\n{yaml.safe_dump(tree, sort_keys=False)}---\n"


def opening(facts: Facts) -> str:
    """Return the sentence that says what the model is."""
    kind = "A LoRA adapter of" if facts.adapter else "A model of the family"
    what = f"`{facts.base}`" if facts.adapter else f"{facts.family}, trained from `{facts.base}`"
    weights = f", in {facts.dtype}" if facts.dtype else ""
    return f"{kind} {what}{weights}, made with vrft.\n"


def prompt_part(facts: Facts) -> list[str]:
    """Return how the model is asked, and the space in which it writes boxes."""
    lines = []
    if facts.prompt is not None:
        prompt = facts.prompt
        shown = [f"system: {prompt.system}"] if prompt.system else []
        shown += [f"{turn.role}: {turn.text}" for turn in prompt.turns]
        shown += [f"user: {prompt.text}"]
        pictures = len(prompt.images)
        lines += [
            "## How to ask\n",
            f"It was trained on prompts such as this one, with {pictures} picture(s):\n",
            *(f"    {line}" for text in shown for line in text.splitlines()),
            "",
        ]
    if facts.space is not None:
        lines += [f"Coordinates in its answers are {SPACES[facts.space]}.\n"]
    return lines


def method_part(facts: Facts) -> list[str]:
    """Return the data, the method and the settings that differ from the defaults."""
    if facts.config is None:
        return []
    config, usual = facts.config, flat(Config())
    given = {
        name: value
        for name, value in flat(config).items()
        if value != usual.get(name) and name != "train.output_dir"
    }
    count = f", {facts.samples} samples" if facts.samples else ""
    rows = "\n".join(f"| `{name}` | {json.dumps(value)} |" for name, value in given.items())
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return [
        "## How it was trained\n",
        f"Task `{config.task.name}`{count}; method `{config.algorithm.name}`. With {versions}.\n",
        f"| setting | value |\n|---|---|\n{rows}\n",
    ]


def scores_part(facts: Facts) -> list[str]:
    """Return a table of the scores of evaluations, in percent with their 95 % intervals."""
    rows = []
    for path in facts.scores:
        report = json.loads(path.read_text(encoding="utf-8"))
        for name, value in report["metrics"].items():
            rows.append(f"| {report['benchmark']} | {name} | {interval(value)} | {report['n']} |")
    if not rows:
        return []
    table = "| benchmark | metric | % [95 % interval] | samples |\n|---|---|---|---|\n"
    return ["## Scores\n", table + "\n".join(rows) + "\n"]


def interval(value: Mapping[str, Any]) -> str:
    """Return a mean in percent with the ends of its interval, which may be unknown."""
    mean, low, high = (value[name] for name in ("mean", "low", "high"))
    if mean is None:
        return "–"
    ends = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * mean:.1f}{ends}"


def use_part(facts: Facts) -> str:
    """Return the lines that load the model and that serve it."""
    text = facts.space is None
    loader = "AutoModelForCausalLM" if text else "AutoModelForImageTextToText"
    processor = "AutoTokenizer" if text else "AutoProcessor"
    if facts.adapter:
        loading = (
            "from peft import AutoPeftModel\n\n"
            f"model = AutoPeftModel.from_pretrained('{facts.name}')"
        )
        served = "Merge it first: `vrft export RUN --merge --to DIR`."
    else:
        loading = (
            f"from transformers import {loader}, {processor}\n\n"
            f"model = {loader}.from_pretrained('{facts.name}')\n"
            f"processor = {processor}.from_pretrained('{facts.name}')"
        )
        pictures = len(facts.prompt.images) if facts.prompt else 1
        limit = "" if text else f" --limit-mm-per-prompt '{{\"image\": {max(1, pictures)}}}'"
        served = f"    vllm serve {facts.name}{limit}"
    return f"## How to use it\n\n```python\n{loading}\n```\n\n{served}\n"
