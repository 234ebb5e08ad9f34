"""The model card: the README.md of a model that is handed on, made of a run's own records."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from vrft import paths
from vrft.config.loading import flat
from vrft.config.schema import Config
from vrft.models import conversation
from vrft.runs import moved_files
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
    licence: str = ""
    """The hub's name of the licence, such as apache-2.0; "" where it is not known."""
    areas: tuple[int, int] | None = None
    """The smallest and the largest area in pixels of a picture as the model sees it."""
    longest: int = 0
    """The tokens of a prompt and its answer that it was trained with; 0 where nobody knows."""
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
        licence_part(facts),
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
    if facts.licence:
        tree["license"] = facts.licence
    if is_of_hub(facts.base):
        tree["base_model"] = facts.base
    return f"---\n{yaml.safe_dump(tree, sort_keys=False)}---\n"


def is_of_hub(base: str) -> bool:
    """Return whether the name of a base model may be one of the hub, and no folder's."""
    if base in paths.EMBEDDED or Path(base).exists():
        return False
    try:
        validate_repo_id(base)
    except HFValidationError:  # a folder of another machine
        return False
    return True


def opening(facts: Facts) -> str:
    """Return the sentence that says what the model is."""
    kind = "A LoRA adapter of" if facts.adapter else "A model of the family"
    base = f"`{moved_files.shown(facts.base)}`"
    what = base if facts.adapter else f"{facts.family}, trained from {base}"
    weights = f", in {facts.dtype}" if facts.dtype else ""
    return f"{kind} {what}{weights}, made with vrft.\n"


def prompt_part(facts: Facts) -> list[str]:
    """Return how the model is asked, how it sees pictures, and in which space it writes boxes."""
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
    if facts.areas is not None:
        least, most = facts.areas
        lines += [
            f"Its processor resizes a picture to an area of {least:,} to {most:,} pixels; it was "
            "trained on pictures that Pillow had resized, and not on videos.\n"
        ]
    if facts.space is not None:
        lines += [f"Coordinates in its answers are {SPACES[facts.space]}.\n"]
    return lines


def method_part(facts: Facts) -> list[str]:
    """Return the data, the method and the settings that differ from the defaults."""
    if facts.config is None:
        return []
    config, usual = moved_files.for_others(facts.config), flat(Config())
    given = {
        name: value
        for name, value in flat(config).items()
        if value != usual.get(name) and name != "train.output_dir"
    }
    count = f", {facts.samples} samples" if facts.samples else ""
    rows = "\n".join(f"| `{name}` | {cell(value)} |" for name, value in given.items())
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return [
        "## How it was trained\n",
        f"Task `{config.task.name}`{count}; method `{config.algorithm.name}`. With {versions}.\n",
        f"| setting | value |\n|---|---|\n{rows}\n",
    ]


def cell(value: object) -> str:
    """Return a setting's value in a table, a text as it is written on the command line."""
    plain = isinstance(value, str) and value.isprintable() and value
    return (str(value) if plain else json.dumps(value)).replace("|", "\\|")


def scores_part(facts: Facts) -> list[str]:
    """Return a table of the scores of evaluations, in percent with their 95 % intervals."""
    rows = []
    for path in facts.scores:
        report = json.loads(path.read_text(encoding="utf-8"))
        name = f"{report['benchmark']}{asked_otherwise(path.with_name('settings.json'))}"
        for metric, value in report["metrics"].items():
            rows.append(f"| {name} | {metric} | {interval(value)} | {report['n']} |")
    if not rows:
        return []
    table = "| benchmark | metric | % [95 % interval] | samples |\n|---|---|---|---|\n"
    return ["## Scores\n", table + "\n".join(rows) + "\n"]


def asked_otherwise(path: Path) -> str:
    """Return in words what an evaluation's settings change of its benchmark; "" for nothing."""
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    words = [", pictures blanked"] if settings.get("blank_images") else []
    words += [", its first samples only"] if settings.get("limit") is not None else []
    return "".join(words)


def interval(value: Mapping[str, Any]) -> str:
    """Return a mean in percent with the ends of its interval, which may be unknown."""
    mean, low, high = (value[name] for name in ("mean", "low", "high"))
    if mean is None:
        return "–"
    ends = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * mean:.1f}{ends}"


def use_part(facts: Facts) -> str:
    """Return the lines that load the model, ask it, and serve it."""
    if facts.adapter:
        loading = (
            "from peft import AutoPeftModel\n\n"
            f"model = AutoPeftModel.from_pretrained({facts.name!r})"
        )
        served = "To serve it, merge it first: `vrft export RUN --merge --to DIR`."
    else:
        loading = asking_lines(facts)
        served = (
            "Its `generation_config.json` decodes greedily, without a penalty, and ends where the "
            f"model's turns end. As a server:\n\n    {vllm_line(facts.name, facts)}"
        )
    return f"## How to use it\n\n```python\n{loading}\n```\n\n{served}\n"


def asking_lines(facts: Facts) -> str:
    """Return Python that asks the model the first sample's question, by plain transformers."""
    text = facts.space is None
    loader = "AutoModelForCausalLM" if text else "AutoModelForImageTextToText"
    processor = "AutoTokenizer" if text else "AutoProcessor"
    prompt = facts.prompt or Prompt("Hello", () if text else (Path("picture-1.jpg"),))
    names = [f"picture-{number}.jpg" for number, _ in enumerate(prompt.images, 1)]
    lines = ["from PIL import Image"] if names else []
    lines += [f"from transformers import {loader}, {processor}", ""]
    lines += [f"model = {loader}.from_pretrained({facts.name!r})"]
    lines += [f"processor = {processor}.from_pretrained({facts.name!r})"]
    if prompt.raw:
        lines += [f"text = {conversation.raw_text(prompt)!r}"]
    else:
        messages = conversation.chat_messages(prompt, has_vision=not text)
        lines += ["messages = [", *(f"    {message!r}," for message in messages), "]"]
        lines += ["text = processor.apply_chat_template("]
        lines += ["    messages, tokenize=False, add_generation_prompt=True"]
        lines += [")" + (f" + {prompt.prefill!r}" if prompt.prefill else "")]
    if names:
        lines += [f"pictures = [Image.open(name).convert('RGB') for name in {names!r}]"]
    given = "text=[text], images=pictures" if names else "text=[text]" if not text else "[text]"
    if not prompt.raw:
        given += ", add_special_tokens=False"  # the chat template has written them already
    length = facts.config.sampling.max_completion_length if facts.config else 256
    lines += [
        f"inputs = processor({given}, return_tensors='pt').to(model.device)",
        f"tokens = model.generate(**inputs, max_new_tokens={length})",
        "answer = tokens[0, inputs['input_ids'].shape[1] :]",
        "print(processor.decode(answer, skip_special_tokens=True))",
    ]
    return "\n".join(lines)


def vllm_line(model: str, facts: Facts) -> str:
    """Return the command by which vLLM serves the model, a folder or a name of the hub."""
    words = ["vllm", "serve", model]
    if facts.dtype == "float32":
        words += ["--dtype", "float32"]  # by itself it would serve these weights in half precision
    if facts.longest:
        words += ["--max-model-len", str(facts.longest)]
    if facts.space is not None:
        pictures = len(facts.prompt.images) if facts.prompt else 1
        words += ["--limit-mm-per-prompt", json.dumps({"image": max(1, pictures), "video": 0})]
    return shlex.join(words)


def licence_part(facts: Facts) -> str:
    """Return what is known of the licence."""
    words = (
        f"That of the model which training began with: {facts.licence}. The data have a licence of "
        "their own: look it up before you publish this folder."
        if facts.licence
        else "That of the model which training began with, and of the data: look them up before "
        "you publish this folder, and write the licence into the first lines of this file."
    )
    return f"## Licence\n\n{words}\n"
