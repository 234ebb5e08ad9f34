"""The program of a worker: requests come in lines, and so do its answers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fakes import trl_rewards

from vrft.errors import PictureError, UserError
from vrft.reward_workers import worker
from vrft.reward_workers.messages import to_message
from vrft.rewards import TrainerState
from vrft.types import Completion, Group, Prompt, Rollout, Sample

GROUP = Group(Sample("s", "?", "red"), Prompt("?"), (Rollout(Completion("abc"), (1,), True),))


def start(**changes: Any) -> dict[str, Any]:
    limits = {"memory": 0, "file": 0}
    given = {"path": sys.path, "parent": os.getpid(), "main_thread": True, "limits": limits}
    return {**given, "modules": [trl_rewards.__name__], "task": None, **changes}


def request(name: str, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": 1,
        "name": name,
        "module": trl_rewards.__name__,
        "function": name,
        "seed": None,
    }
    given["shown"] = False
    state = dataclasses.asdict(TrainerState())
    return {**given, "group": to_message(GROUP), "state": state, **changes}


def answers(*lines: dict[str, Any], cwd: Path | None = None) -> list[dict[str, Any]]:
    """Return the answers of a worker to some requests, at whose end it must end by itself."""
    read, write = os.pipe()
    own_read, own_write = os.pipe()
    os.write(own_write, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    os.close(own_write)
    try:
        done = subprocess.run(
            [sys.executable, "-P", worker.__file__, str(own_read), str(write)],
            pass_fds=(own_read, write), cwd=cwd, timeout=60, capture_output=True,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(own_read)
        os.close(write)
    with os.fdopen(read) as file:
        given = [json.loads(line) for line in file]
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    return given


def test_a_worker_answers_its_requests_in_turn_and_ends_with_them() -> None:
    first, second, third, fourth = answers(
        start(), request("counted"), request("counted", id=2), request("refusing", id=3)
    )
    assert first == {"id": 0, "ready": True}
    assert second == {"id": 1, "values": [1.0], "metrics": {}, "columns": {}}
    assert third["values"] == [2.0]
    assert fourth == {
        "id": 3,
        "mistake": "reward 'refusing', sample 's': no such file; make it",
        "picture": False,
    }


def test_the_users_main_module_is_not_imported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "with Path('runs.txt').open('a') as file:\n    file.write('run\\n')\n"
        "from fakes import trl_rewards\n"
        "from fakes.naming import Naming\n"
        "from vrft.rewards import FunctionReward, rewards_of, with_rewards\n"
        "from vrft.rewards.function_reward import FileFunction\n"
        "from vrft.reward_workers.isolation import isolated\n"
        "from vrft.reward_workers.worker_process import Limits\n"
        "from vrft.types import Completion, Sample\n"
        "mine = FunctionReward(FileFunction('fakes.trl_rewards', 'counted'), 'counted')\n"
        "sample = Sample('s', '?', 'red')\n"
        "task = isolated(with_rewards(Naming(), {'counted': mine}), sample, Limits(), 0)\n"
        "print(rewards_of(task, sample, Completion('x'))['counted'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1.0\n", "")
    assert (tmp_path / "runs.txt").read_text() == "run\n"


def test_an_error_is_told_with_its_type_and_traceback() -> None:
    told = worker.attempted(lambda: 1 / 0)
    assert (told["error"], told["text"], told["args"], told["builtin"]) == (
        *("ZeroDivisionError", "division by zero", ["division by zero"], True),
    )
    assert "Traceback" in told["traceback"]

    def odd() -> None:
        raise KeyError(object())

    assert worker.attempted(odd)["args"] is None  # no line can hold it


def test_mistakes_and_want_of_memory_are_told_apart() -> None:
    def fail(error: BaseException) -> Any:
        def work() -> None:
            raise error

        return worker.attempted(work)

    assert fail(UserError("mend it")) == {"mistake": "mend it", "picture": False}
    assert fail(PictureError("a.png: no")) == {"mistake": "a.png: no", "picture": True}
    assert fail(MemoryError()) == {"memory": True}
