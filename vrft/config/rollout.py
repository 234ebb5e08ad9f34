"""The settings of a rollout: how completions are sampled, and by which engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from vrft.config.coercion import Above0, Amount, Count, Place, Range, Size


@dataclass(frozen=True)
class SamplingConfig:
    """The sampling of completions. A checkpoint's generation_config is never asked: its top_k or
    repetition_penalty would bias a policy gradient without a word."""

    temperature: Amount = 1.0
    """Logits are divided by it, in sampling and in the log-probabilities of an update; 0: the
    likeliest token, which no training samples by."""
    top_p: Annotated[float, Range(0, 1, open=True)] = 1.0
    """Sample from the likeliest tokens that have this share of the probability; 1: from all."""
    top_k: Size = 0
    """Sample from so many likeliest tokens; 0: from all."""
    # 1: none. A penalty makes the sampling distribution depend on the completion so far, and the
    # log-probabilities of an update would be those of another distribution.
    repetition_penalty: Above0 = 1.0
    max_completion_length: Count = 256
    """Tokens after which a completion is cut off; in TRL the default is 512."""
    max_prompt_length: Count | None = 4096
    """A longer prompt, image tokens included, is an error: it is never cut. None: no limit."""
    cuda_graphs: bool = True
    """Decode by replaying CUDA graphs; without effect on a CPU and where weights are sharded."""


@dataclass(frozen=True)
class VllmConfig:
    """A vLLM server that samples; it lives in an environment of its own.

    With ``url``, a running server is used; with ``python``, one is started and ended with the run.
    """

    url: str = ""
    """Address of a server on this machine, such as http://127.0.0.1:8000."""
    python: Place = ""
    """Python of the environment in which vLLM is installed, such as .venv-vllm/bin/python."""
    arguments: tuple[str, ...] = ()
    """Further arguments of ``vllm serve`` for a server that is started."""
    lora: Literal["merged", "adapter"] = "merged"
    """How a LoRA adapter is sent: merged into all weights, or as itself, in a small part of the
    bytes. A server that is attached to then needs --enable-lora and --max-lora-rank."""
    gpu_memory_utilization: Annotated[float, Range(0, 1, open=True)] = 0.3
    """Share of the GPU's memory that a started server takes for weights and keys and values. On a
    CPU it takes VLLM_CPU_KVCACHE_SPACE GiB, 1 if that is not set."""
    devices: str = ""
    """GPUs of a started server, such as 7 or 6,7, numbered as in CUDA_VISIBLE_DEVICES; empty: those
    of the trainer, of which it takes the first."""
    tensor_parallel_size: Count = 1
    """GPUs over which a started server spreads each layer."""
    max_model_length: Count | None = None
    """Tokens of a prompt and its completion together; None: the two limits of ``sampling``."""
    max_num_seqs: Count = 64
    """Completions that a started server decodes at a time; at least num_generations."""
    start_timeout: Above0 = 600.0
    """Seconds in which a server must have started and answered a first prompt with a picture, and
    in which it must have taken new weights after each update."""
    timeout: Above0 = 30.0
    """Seconds without a new token after which a server counts as hanging; while it loads weights,
    seconds in which it must answer /health."""
    restarts: Size = 0
    """How many times in a run a server that dies, hangs or answers garbage is started again, with
    the newest weights. 0: the run ends."""
    max_logprob_difference: Above0 | None = None
    """Largest difference between the server's log-probabilities and those of the model itself at
    which nothing is said. None: 1e-4 in float32; in less, where logits themselves have steps of
    0.125, a mean of 0.05 with any largest one."""
    strict: bool = False
    """End the run at a greater difference, instead of a warning."""


@dataclass(frozen=True)
class RolloutConfig:
    """The engine that samples completions in training: this toolkit's own, or a vLLM server."""

    engine: Literal["vrft", "vllm"] = "vrft"
    """This toolkit's own sampling, or a vLLM server: that of ``vllm.url`` or ``vllm.python``."""
    vllm: VllmConfig = VllmConfig()
    ahead: Annotated[int, Range(0, 1)] = 0
    """Steps by which the rollouts of a server precede their update: with 1, the server samples for
    the next step while this one trains, from weights that are one step old."""
