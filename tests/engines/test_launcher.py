"""The launcher ends a server with all its processes, whoever of its kin ends first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import processes

from vrft.engines import launcher as vllm_launcher

LAUNCHER = Path(vllm_launcher.__file__)
OWNED = vllm_launcher.OWNED

# In the place of vLLM's server: it starts a process of its own, as vLLM's engine is one, and both
# take no notice of SIGTERM, as an engine that is stuck does.
SERVER = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
assert "vrft_vllm_worker.WeightReload" in sys.argv, sys.argv
import vrft_vllm_worker
if os.environ.get("WITH_MEMORY"):
    from multiprocessing import resource_tracker
    from multiprocessing.shared_memory import SharedMemory
    memory = SharedMemory(create=True, size=4096)
    # The tracker waits for all who know it, as vLLM's engine and workers do.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                     pass_fds=[resource_tracker.getfd()])
    with open(os.environ["WITH_MEMORY"], "w") as file:
        file.write(memory.name)
time.sleep(float(sys.argv[1]))
sys.exit(5)
"""

PARENT = """
import subprocess, sys, time
launcher = subprocess.Popen(sys.argv[1:], start_new_session=True)
print(launcher.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A copy of the launcher that runs SERVER, and waits less before it kills."""
    (tmp_path / "stand_in.py").write_text(SERVER)
    text = LAUNCHER.read_text()
    for old, new in (('"-m", SERVER', f'"{tmp_path}/stand_in.py"'), ("= 5.0", "= 0.5")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "launcher.py"
    path.write_text(text)
    (tmp_path / "worker.py").write_text("")
    return path


def serve(script: Path, seconds: float, *owned: str) -> list[str]:
    """Return the command of a server that ends after some seconds, started by hand or owned."""
    scratch = str(script.parent / "scratch")
    return [sys.executable, str(script), "serve", scratch, *owned, str(seconds)]


def test_it_describes_the_environment_it_runs_in() -> None:
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), "describe"], capture_output=True, text=True, check=True
    )
    described = json.loads(done.stdout)
    assert described == vllm_launcher.describe()
    assert described["vllm"] == described["distribution"] == ""
    assert described["torch"].startswith("2.")


@pytest.mark.parametrize(
    "words", [[], ["serve"], ["serve", "--model", "m"], ["serv", "f", "--model", "m"]]
)
def test_a_command_line_that_starts_nothing_is_answered_by_one_that_does(words: list[str]) -> None:
    done = subprocess.run([sys.executable, LAUNCHER, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("usage: PYTHON launcher.py serve FOLDER --model MODEL")


def test_what_a_server_leaves_behind_ends_with_it(script: Path) -> None:
    launcher = subprocess.Popen(serve(script, 1.0, OWNED), start_new_session=True)
    assert launcher.wait(timeout=60) == 5  # the server's own status
    assert processes.of_session(launcher.pid) == []
    assert (script.parent / "scratch").exists()  # its parent lives, and starts it again perhaps


def test_a_launcher_that_is_told_to_end_kills_what_does_not(script: Path) -> None:
    launcher = subprocess.Popen(serve(script, 600, OWNED), start_new_session=True)
    processes.wait_until(lambda: len(processes.of_session(launcher.pid)) == 3)
    launcher.terminate()
    assert launcher.wait(timeout=60) == 1
    processes.wait_until(lambda: not processes.of_session(launcher.pid))


def test_shared_memory_of_a_server_that_is_killed_is_deleted(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = script.parent / "name"
    monkeypatch.setenv("WITH_MEMORY", str(named))
    launcher = subprocess.Popen(serve(script, 600, OWNED), start_new_session=True)
    processes.wait_until(lambda: named.is_file() and named.read_text(), 60)
    memory = Path("/dev/shm") / named.read_text()
    assert memory.is_file()
    launcher.terminate()
    assert launcher.wait(timeout=60) == 1
    processes.wait_until(lambda: not processes.of_session(launcher.pid))
    assert not memory.exists()


def test_a_parent_that_is_killed_takes_all_with_it(script: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *serve(script, 600, OWNED)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    session = int(parent.stdout.readline())
    processes.wait_until(lambda: len(processes.of_session(session)) == 3)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    processes.wait_until(lambda: not processes.of_session(session))
    processes.wait_until(lambda: not (script.parent / "scratch").exists())


# --- started by hand

# The user's shell, which has another process in its session, and goes on behind the server.
TERMINAL = """
sleep 600 & echo $!
"$@" & echo $!
wait $!
echo ended with $?
"""


@pytest.fixture
def terminal() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that runs a command in a shell of its own session, as a terminal does."""
    shells = []

    def run(*command: str) -> subprocess.Popen[str]:
        shell = ["bash", "-c", TERMINAL, "bash", *command]
        shells.append(
            subprocess.Popen(shell, stdout=subprocess.PIPE, text=True, start_new_session=True)
        )
        return shells[-1]

    yield run
    for shell in shells:
        for process in processes.of_session(shell.pid):
            os.kill(process, signal.SIGKILL)
        shell.communicate()


def line(shell: subprocess.Popen[str]) -> str:
    """Return the next line that a shell prints."""
    assert shell.stdout is not None
    return shell.stdout.readline().strip()


def test_a_server_of_a_terminal_ends_nothing_else_in_it_and_deletes_nothing_of_the_user(
    script: Path, terminal: Callable[..., subprocess.Popen[str]]
) -> None:
    thesis = script.parent / "scratch/thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    shell = terminal(*serve(script, 1.0))
    neighbour, _, ended = int(line(shell)), line(shell), line(shell)
    assert ended == "ended with 5"  # the server's own status
    os.kill(neighbour, 0)  # it runs
    assert [*thesis.parent.iterdir()] == [thesis]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_server_of_a_terminal_ends_with_its_launcher(
    script: Path, terminal: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    shell = terminal(*serve(script, 600))
    neighbour, launcher = int(line(shell)), int(line(shell))
    owner = session_below(launcher)
    assert len([*(script.parent / "scratch").iterdir()]) == 1
    os.kill(launcher, number)
    processes.wait_until(lambda: not processes.of_session(owner))
    processes.wait_until(lambda: not [*(script.parent / "scratch").iterdir()])
    os.kill(neighbour, 0)  # it runs


def test_a_server_of_a_terminal_outlives_it_by_nohup(
    script: Path, terminal: Callable[..., subprocess.Popen[str]]
) -> None:
    shell = terminal("nohup", *serve(script, 600))
    neighbour, launcher = int(line(shell)), int(line(shell))
    owner = session_below(launcher)
    shell.kill()
    for process in (neighbour, launcher):
        os.kill(process, signal.SIGHUP)  # as a terminal that is closed tells all in it
    processes.wait_until(lambda: neighbour not in processes.of_session(shell.pid))
    time.sleep(1.0)  # five looks at the parent
    assert len(processes.of_session(owner)) == 3
    os.kill(launcher, signal.SIGTERM)
    processes.wait_until(lambda: not processes.of_session(owner))


def session_below(launcher: int) -> int:
    """Return the session of a launcher's server, once all three processes of it run."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    processes.wait_until(lambda: bool(children.read_text().split()))
    owner = int(children.read_text().split()[0])
    processes.wait_until(lambda: len(processes.of_session(owner)) == 3)
    return owner
