"""A vLLM server that the trainer starts in vLLM's own environment, and that ends with the run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft.config.rollout import VllmConfig
from vrft.config.schema import Config
from vrft.engines.client import Client, ServerFailure
from vrft.engines.launcher import OWNED
from vrft.models.families import read_config
from vrft.models.loading import precision
from vrft.policy.adapter_weights import served_rank

LAUNCHER = Path(__file__).with_name("launcher.py")

LOG_TAIL = 2**20
"""Bytes of a log in which its last words are looked for: one failure is told in 300 kB."""

CPU_BATCH = 2048
"""Tokens that a server on a CPU reads at a time, or one prompt, if that is longer."""

CPU_VARIABLES = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads bound to cores would sit on the trainer's
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_CI_ENV": "1",
    "TORCH_COMPILE_DISABLE": "1",  # the first request would take 46 s
}
"""The environment variables of a server on a CPU, where the trainer's own say nothing else."""

LAUNCH_VARIABLES = re.compile(
    r"RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|GROUP_\w+|ROLE_\w+|MASTER_(ADDR|PORT)|"
    r"TORCHELASTIC_\w+|ACCELERATE_\w+|FSDP_\w+|VRFT_LAUNCH|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV"
)
"""Environment variables of the trainer's launch and of its Python, which would mislead vLLM."""


def environment(settings: Mapping[str, str], devices: str = "") -> dict[str, str]:
    """Return the environment of vLLM's processes: the trainer's, without what misleads vLLM.

    ``settings`` are for variables that the trainer's lacks. The processes see the GPUs ``devices``
    alone, "" for those that the trainer sees.
    """
    kept = {name: value for name, value in os.environ.items()
            if not LAUNCH_VARIABLES.fullmatch(name)}  # fmt: skip
    own = {"CUDA_VISIBLE_DEVICES": devices} if devices else {}
    return kept | {name: os.environ.get(name, value) for name, value in settings.items()} | own


class Server:
    """A running server with its processes, its scratch folder and its log."""

    def __init__(self, config: Config, model: Path, scratch: Path, log: Path, *, cpu: bool) -> None:
        """Start a server of a model's folder; ``wait`` says when it is up.

        ``scratch`` is deleted with the trainer, also where it is killed. The log is appended to.
        """
        self.settings: VllmConfig = config.rollout.vllm
        self.log = log
        self.reserved = reserved_port()
        port = self.reserved.getsockname()[1]
        self.client = Client(f"http://127.0.0.1:{port}")
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [self.settings.python, str(LAUNCHER), "serve", str(scratch), OWNED,
                   *arguments(config, model, port, cpu=cpu)]  # fmt: skip
        with log.open("ab") as file:
            self.began = file.tell()  # its last words are not those of a server before it
            self.process = subprocess.Popen(
                command,
                env=environment(CPU_VARIABLES if cpu else {}, self.settings.devices),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server is up; raise ServerFailure where it ends, or is not up in time."""
        deadline = time.monotonic() + self.settings.start_timeout
        while True:
            self.check_alive()
            try:
                self.client.call("GET", "/health", timeout=5.0)
                return
            except ServerFailure as failure:
                if time.monotonic() > deadline:
                    raise ServerFailure(
                        f"it is not up after rollout.vllm.start_timeout="
                        f"{self.settings.start_timeout:g} s"
                    ) from failure
            time.sleep(0.5)

    def check_alive(self) -> None:
        """Raise ServerFailure if the server has ended."""
        status = self.process.poll()
        if status is not None:
            raise ServerFailure(f"it has ended with status {status}")

    def last_words(self) -> str:
        """Return the line of the server's log that says best why it ended, "" for none."""
        with self.log.open("rb") as file:
            file.seek(self.began)
            lines = file.read()[-LOG_TAIL:].decode("utf-8", errors="replace").splitlines()
        return last_words(lines)

    def close(self) -> None:
        """End all processes of the server, and wait for that; they may have ended before."""
        if self.process.poll() is None:
            self.process.terminate()  # the launcher, which ends its session
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
        # The launcher itself may have been killed. Its session is the process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reserved.close()


def reserved_port() -> socket.socket:
    """Return a socket that reserves a free port of this machine for a server, until it is closed.

    The server binds it half a minute later, when another process might have taken a port that is
    only known to have been free. This socket is bound and does not listen: Linux then lets one that
    reuses addresses listen there, as vLLM's does, and gives the port to nobody who asks for any.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


ERROR = re.compile(
    r"\b\w*(Error|Exception)\b: \S|Killed|Segmentation fault|out of memory|: error: "
)
PREFIX = re.compile(
    r"^(?:\(\w+(?: pid=\d+)?\) )?(?:(?P<level>[A-Z]+) [\d-]+ [\d:.]+ )?(?:\[[\w.]+:\d+\] ?)?"
)
"""What vLLM's log puts before a message: the process, the level and the time, and the place."""


def last_words(lines: Sequence[str]) -> str:
    """Return the first cause that a log names, else its last line; at most 300 characters.

    vLLM's processes report the failures of those below them: the error before the others is the
    cause, and "see root cause above" says nothing. A warning that mentions errors is none.
    """
    said, errors = [], []
    for line in lines:
        prefix = PREFIX.match(line)
        message = line[prefix.end() if prefix else 0 :].strip()
        if message:
            said.append(message)
        alarming = prefix is None or prefix["level"] in (None, "ERROR", "CRITICAL")
        if alarming and ERROR.search(message) and "root cause" not in message:
            errors.append(message)
    return (errors[0] if errors else said[-1] if said else "")[:300]


def arguments(config: Config, model: Path, port: int, *, cpu: bool) -> list[str]:
    """Return the arguments of the server of a model's folder."""
    settings = config.rollout.vllm
    length = settings.max_model_length or longest(config, read_config(str(model)))
    given = {
        "--model": model,
        "--port": port,
        "--served-model-name": "policy",
        "--dtype": server_dtype(config, cpu=cpu),
        "--max-model-len": length,
        "--max-num-seqs": settings.max_num_seqs,
        "--tensor-parallel-size": settings.tensor_parallel_size,
    }
    if not cpu:
        given["--gpu-memory-utilization"] = settings.gpu_memory_utilization
    flags = []
    if cpu:
        # A prompt that is read in parts would end the engine: vLLM then turns the generator of its
        # seed back, which a CPU's cannot do.
        given["--max-num-batched-tokens"] = max(length, CPU_BATCH)
        flags = ["--enforce-eager", "--no-enable-chunked-prefill"]
    pairs = (str(word) for pair in given.items() for word in pair)
    return [*pairs, *flags, *adapter_arguments(config), *settings.arguments]


def adapter_arguments(config: Config) -> tuple[str, ...]:
    """Return the arguments of a server that is sent adapters, () for one that is not."""
    if config.rollout.vllm.lora == "merged":
        return ()
    return ("--enable-lora", "--max-lora-rank", str(served_rank(config.model)))


def longest(config: Config, model: Any) -> int:
    """Return how many tokens a prompt and its completion may have together.

    They are the two limits of ``sampling``, but not more than the model, given by its transformers
    configuration, has positions: vLLM refuses to start with more.
    """
    sampling = config.sampling
    positions = int(model.get_text_config().max_position_embeddings)
    if sampling.max_prompt_length is None:
        return positions
    return min(positions, sampling.max_prompt_length + sampling.max_completion_length)


def server_dtype(config: Config, *, cpu: bool) -> str:
    """Return the precision of a server that is started on a CPU or a graphics card."""
    return precision(config.model, "cpu" if cpu else "cuda")
