"""The program that computes rewards of a user's own: this file, started by the run.

It is no process of multiprocessing, which would first import the main module of whoever starts it.
Requests come as lines of JSON through a pipe of their own, and answers go through another: standard
input is empty, and whatever a reward prints goes to the log. The program ends with its run.
"""

from __future__ import annotations

# Only the standard library up here: the program finds vrft by the sys.path in its first request.
import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrft.task import Reward, Task

DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl: the signal that comes when the starting thread ends."""


def main(requests: IO[bytes], answers: int) -> None:
    """Answer requests until there are no more; the first one says what to import, and the limits.

    ``requests`` is read line by line, and ``answers`` is the descriptor of the other pipe.
    """
    start = json.loads(requests.readline())
    sys.path[:] = start["path"]
    end_with(start["parent"], main_thread=start["main_thread"])
    limit(start["limits"])
    own = os.getpid()
    answer = attempted(lambda: {"ready": prepared(start)})
    task: Any = answer.get("ready")
    send(answers, {"id": 0, **answer, **({"ready": True} if "ready" in answer else {})})
    for line in requests:
        request = json.loads(line)
        seeded(request["seed"])
        answer = attempted(lambda request=request: rewarded(request, task))
        if os.getpid() != own:  # a child that the reward has forked, and that came back from it
            os._exit(0)
        with contextlib.suppress(ValueError, OSError):  # a reward may close it
            sys.stdout.flush()
        send(answers, {"id": request["id"], **answer})


def end_with(parent: int, *, main_thread: bool) -> None:
    """End this process when the one that started it does, also while a reward computes."""
    if main_thread and sys.platform == "linux":  # of another thread the end would count as well
        ctypes.CDLL(None, use_errno=True).prctl(DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)  # this session, which this process leads

    threading.Thread(target=watch, name="vrft parent", daemon=True).start()


def limit(limits: Mapping[str, int]) -> None:
    """Bound the memory and files of this process, where the system can; no core is dumped.

    Memory is what it may write to (RLIMIT_DATA), and not its addresses (RLIMIT_AS), of which CUDA
    reserves more than any machine has memory.
    """
    import resource

    for name, value in (
        (resource.RLIMIT_DATA, limits["memory"]),
        (resource.RLIMIT_FSIZE, limits["file"]),
    ):
        if value:
            with contextlib.suppress(ValueError, OSError):  # a lower limit may hold already
                resource.setrlimit(name, (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where all memory of the machine is used up, this process is to end before its run does.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("900")
    faulthandler.enable()


def prepared(start: Mapping[str, Any]) -> Any:
    """Import the modules of the rewards, and return their task, None for functions of a file."""
    import numpy  # noqa: F401, so that a reward which draws from it is seeded like any other

    from vrft.reward_workers.messages import from_message

    for module in start["modules"]:
        importlib.import_module(module)
    return None if start["task"] is None else from_message(start["task"])


def seeded(seed: int | None) -> None:
    """Seed the generators of random numbers, as the run does with its own at each step."""
    if seed is None:
        return
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def rewarded(request: Mapping[str, Any], task: Task[Any] | None) -> dict[str, Any]:
    """Return the values of a reward for a group, and what it logged."""
    from vrft.reward_workers.messages import from_message
    from vrft.rewards.function_reward import FileFunction, FunctionReward
    from vrft.rewards.task_rewards import group_values
    from vrft.rewards.trl import RewardLog, TrainerState
    from vrft.rewards.values import to_line

    name, group = request["name"], from_message(request["group"])
    if request["shown"]:
        prompt = replace(group.prompt, images=group.sample.images)
        group = replace(group, prompt=prompt)
    log = RewardLog(len(group.rollouts))
    reward: Reward[Any]
    if request["module"] is None:
        assert task is not None
        reward = task.rewards()[name]
    else:
        function = FileFunction(request["module"], request["function"])
        reward = FunctionReward(function, name)
    values = group_values(reward, name, group, TrainerState(**request["state"]), log)
    return {
        "values": [to_line(value) for value in values],
        "metrics": log.metrics,
        "columns": log.columns,
    }


def attempted(work: Any) -> dict[str, Any]:
    """Return what some work gives, or its error as the run is told of it."""
    from vrft.errors import PictureError, UserError

    try:
        result: dict[str, Any] = work()
    except UserError as error:
        return {"mistake": str(error), "picture": isinstance(error, PictureError)}
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # whatever it is: the run raises it, with this traceback
        plain = all(isinstance(part, None | bool | int | float | str) for part in error.args)
        return {
            "error": type(error).__name__,
            "text": str(error),
            "args": list(error.args) if plain else None,
            "builtin": type(error).__module__ == "builtins",
            "traceback": "".join(traceback.format_exception(error)),
        }
    return result


def send(answers: int, answer: Mapping[str, Any]) -> None:
    """Write one answer as a line of JSON."""
    line = json.dumps(answer).encode("ascii") + b"\n"
    while line:
        line = line[os.write(answers, line) :]


if __name__ == "__main__":
    pipes = [int(word) for word in sys.argv[1:3]]
    sys.argv[1:] = []
    for pipe in pipes:
        os.set_inheritable(pipe, False)  # programs that a reward starts must not hold them
    with os.fdopen(pipes[0], "rb") as reading:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        main(reading, pipes[1])
