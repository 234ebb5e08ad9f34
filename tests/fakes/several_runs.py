"""``vrft train`` several times in the processes of one launch, which start but once.

    LAUNCHER several_runs.py CASES.json

Each case of the file has a name and arguments; some copy the folder of a run before, set variables
of the environment or module attributes, or meet something in the second step, all of them in some
processes alone by ``of``. What became of a case stands in ``<name>-<rank>.json`` beside the file:
the exit status, and what the process has said.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

RANK = int(os.environ.get("RANK", "0"))
LATER = ("checkpoint-3", "final")
"""What a run has made that is stopped after its second step."""


def main(file: Path) -> None:
    """Run all cases, each whatever became of the one before; the process's id is written first."""
    (file.parent / f"{RANK}.pid").write_text(str(os.getpid()))
    for every in json.loads(file.read_text()):
        case = every | every.get("of", {}).get(str(RANK), {})
        if "copy" in case and RANK == 0:
            source, target = case["copy"]
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LATER))
        wait()
        said = Heard()
        with contextlib.redirect_stderr(said), changed(case):
            status = run(case["arguments"])
        outcome = file.parent / f"{case['name']}-{RANK}.json"
        outcome.write_text(json.dumps({"status": status, "said": said.getvalue()}))
        if every.get("last"):
            sys.exit(status)
        gc.collect()  # DeepSpeed's engines hold gigabytes
        wait()


class Heard(io.StringIO):
    """Standard error that is also kept."""

    def write(self, text: str) -> int:
        """Write to both; at once, as the process may be killed."""
        sys.__stderr__.write(text)  # type: ignore[union-attr]
        sys.__stderr__.flush()  # type: ignore[union-attr]
        return super().write(text)


def run(arguments: list[str]) -> int:
    """Return the status with which ``vrft train`` ends."""
    from vrft.cli.commands import main

    try:
        return main(["train", *arguments])
    except SystemExit as stopped:
        return int(str(stopped.code))


@contextlib.contextmanager
def changed(case: dict[str, Any]) -> Any:
    """Set the case's attributes and variables within the block, and let it meet what it meets."""
    with contextlib.ExitStack() as stack:
        for name, value in case.get("attributes", {}).items():
            module, _, attribute = name.rpartition(".")
            set_attribute(stack, importlib.import_module(module), attribute, value)
        stack.enter_context(mock.patch.dict(os.environ, case.get("environment", {})))
        if "second" in case:
            meet = meet_in_second_lesson if "algorithm=sft" in case["arguments"] else None
            (meet or meet_in_second_step)(stack, case["second"])
        yield


def set_attribute(stack: contextlib.ExitStack, module: Any, name: str, value: Any) -> None:
    """Set an attribute until the stack ends."""
    stack.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, value)


def meet_in_second_step(stack: contextlib.ExitStack, what: str) -> None:
    """Let this process hang, make a mistake, or get a signal by its name, in its second step."""
    from vrft.errors import UserError
    from vrft.training import loop

    step = loop.step

    def met(run: Any) -> Any:
        if run.progress.step == 1:
            if what == "hang":
                time.sleep(25)
                os._exit(3)
            if what == "lock":
                lock = threading.Lock()
                with lock:
                    lock.acquire()
            if what == "mistake":
                raise UserError("a mistake of this process alone")
            os.kill(os.getpid(), signal.Signals[what])
        return step(run)

    set_attribute(stack, loop, "step", met)


def meet_in_second_lesson(stack: contextlib.ExitStack, what: str) -> None:
    """Let this process make a mistake or get a signal within the second step of fine-tuning."""
    from vrft.errors import UserError
    from vrft.sft.trainer import Trainer

    step, met = Trainer.training_step, []

    def meeting(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if trainer.state.global_step == 1 and not met:
            met.append(what)
            if what == "mistake":
                raise UserError("a mistake of this process alone")
            os.kill(os.getpid(), signal.Signals[what])
        return step(trainer, *args, **kwargs)

    set_attribute(stack, Trainer, "training_step", meeting)


def wait() -> None:
    """Wait for the other processes, once there is a way."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
