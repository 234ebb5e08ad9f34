"""Saved folders in plain transformers and peft: the same classes, pictures and greedy answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import torchvision_stub
from peft import AutoPeftModel, AutoPeftModelForCausalLM
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
)

from vrft import models
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig
from vrft.demo.tiny_configs import patch_size
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy import sampling
from vrft.types import Prompt

Load = Callable[..., LoadedModel]
Picture = Callable[..., Image.Image]

GREEDY = SamplingConfig(max_completion_length=12, temperature=0.0)
QUESTION = "Where is the key?"

each_family = pytest.mark.parametrize("family", list(FAMILIES))


def stir(loaded: LoadedModel) -> LoadedModel:
    """Change what is trained, so that an adapter says something: at first its B is 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return loaded


def answer(loaded: LoadedModel, images: tuple[Image.Image, ...]) -> list[int]:
    """Return the tokens of our own greedy answer."""
    encoded = encoding.encode(loaded, Prompt(QUESTION, images))
    return sampling.sample(loaded, [encoded], 1, GREEDY, [0])[0][0]


def stock_answer(loaded: LoadedModel, model: Any, inputs: Any) -> list[int]:
    """Return the tokens of a plain model's greedy answer to the processor's ``inputs``."""
    tokens = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=12,
        suppress_tokens=list(loaded.banned_ids),
        eos_token_id=sorted(loaded.end_ids),
        pad_token_id=loaded.tokenizer.pad_token_id,
    )
    return loaded.until_end(tokens[0, inputs["input_ids"].shape[1] :].tolist())


def stock_inputs(folder: Path, images: tuple[Image.Image, ...]) -> dict[str, Any]:
    """Return a prompt's inputs by the stock tokenizer and image processor of a folder.

    Without torchvision, the stock processor refuses every Qwen-VL folder, the published ones too.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    content: Any = [{"type": "image"}, {"type": "text", "text": QUESTION}] if images else QUESTION
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    if not images:
        return dict(tokenizer(text, return_tensors="pt"))
    made = AutoImageProcessor.from_pretrained(folder)(images=list(images), return_tensors="pt")
    count = int(made["image_grid_thw"].prod()) // 4  # 2 x 2 patches are one token
    inputs = dict(tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count),
                            return_tensors="pt"))  # fmt: skip
    image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    return inputs | dict(made) | {"mm_token_type_ids": (inputs["input_ids"] == image).int()}


@each_family
def test_a_saved_model_answers_alike_in_plain_transformers(
    family: str, load_tiny: Load, picture: Picture, tmp_path: Path
) -> None:
    loaded = stir(load_tiny(family, train=True))
    loaded.model.eval()
    models.save_model(loaded, tmp_path)
    images = (picture(56, 84),) if loaded.family.has_vision else ()
    auto = AutoModelForImageTextToText if images else AutoModelForCausalLM
    plain = auto.from_pretrained(tmp_path)
    assert type(plain) is type(loaded.model)
    inputs = stock_inputs(tmp_path, images)
    assert stock_answer(loaded, plain, inputs) == answer(loaded, images)


@each_family
def test_a_saved_adapter_answers_alike_in_plain_peft(
    family: str, load_tiny: Load, picture: Picture, tmp_path: Path
) -> None:
    lora = LoraConfig(r=4, target_modules=("all-linear",))
    loaded = stir(load_tiny(family, train=True, lora=lora))
    loaded.model.eval()
    models.save_model(loaded, tmp_path)
    images = (picture(56, 84),) if loaded.family.has_vision else ()
    inputs = stock_inputs(tmp_path, images)
    for auto in (AutoPeftModel, AutoPeftModelForCausalLM):
        plain = auto.from_pretrained(tmp_path)
        assert type(plain.get_base_model()) is type(loaded.core)
        assert stock_answer(loaded, plain, inputs) == answer(loaded, images)


IN_ANOTHER_PROCESS = """
import json, sys, traceback
import numpy, torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

def ask(folder, pixels, banned, ends):
    processor = AutoProcessor.from_pretrained(folder)
    image = Image.fromarray(numpy.array(pixels, dtype=numpy.uint8))
    content = [{"type": "image", "image": image}, {"type": "text", "text": "Where is the key?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True,
        return_dict=True, return_tensors="pt",
    )
    model = AutoModelForImageTextToText.from_pretrained(folder)
    tokens = model.generate(
        **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=banned, eos_token_id=ends,
        pad_token_id=ends[0],
    )
    size = processor.image_processor.size
    return {
        "classes": [type(processor).__name__, type(processor.video_processor).__name__],
        "size": [size["shortest_edge"], size["longest_edge"]],
        "tokens": tokens[0, inputs["input_ids"].shape[1] :].tolist(),
    }

for folder, *question in json.load(sys.stdin):
    try:
        told = ask(folder, *question)
    except Exception:  # a family's mistake is its own
        told = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(told))
"""

WITH_VISION = [name for name, row in FAMILIES.items() if row.has_vision]


def two_by_three(picture: Picture, family: str) -> Image.Image:
    """Return a picture of six image tokens, which the stub need not resize."""
    side = 2 * patch_size(family)  # type: ignore[arg-type]
    return picture(2 * side, 3 * side)


@pytest.fixture(scope="module")
def stock(
    load_tiny: Load, picture: Picture, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the stock classes make of each family's folder, all in one process with torchvision."""
    folder = tmp_path_factory.mktemp("stock")
    questions = []
    for family in WITH_VISION:
        loaded = load_tiny(family, max_pixels=110 * 110)
        models.save_model(loaded, folder / family)
        pixels = np.asarray(two_by_three(picture, family)).tolist()
        ids = (list(loaded.banned_ids), sorted(loaded.end_ids))
        questions.append([str(folder / family), pixels, *ids])
    stub = torchvision_stub.write(folder / "stub")
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=json.dumps(questions),
        env={**os.environ, "PYTHONPATH": str(stub), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()[-len(WITH_VISION) :]
    return dict(zip(WITH_VISION, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("family", WITH_VISION)
def test_with_torchvision_the_stock_processor_loads_a_saved_folder(
    family: str, stock: dict[str, dict[str, Any]], load_tiny: Load, picture: Picture
) -> None:
    result = stock[family]
    assert "error" not in result, result["error"]
    row, image = FAMILIES[family], two_by_three(picture, family)
    videos = "Qwen3VLVideoProcessor" if family.startswith("qwen3") else "Qwen2VLVideoProcessor"
    assert result["classes"] == [row.processor, videos]
    assert result["size"] == [image.width**2, 110 * 110]
    loaded = load_tiny(family, max_pixels=110 * 110)
    assert loaded.until_end(result["tokens"]) == answer(loaded, (image,))
