"""Nothing speaks to the network unless a name of the hub was given, and no library reports its use.

Each command runs in a process of its own whose sockets are closed, and which is not told that it is
offline: a library that wanted to speak would be heard.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vrft

BEGIN = """
import socket, sys
asked = []
def refuse(*args, **words):
    asked.append(repr(args)[:200])
    raise OSError("the network is closed")
local = socket.socket.connect
def connect(own, address):
    return local(own, address) if own.family == socket.AF_UNIX else refuse(address)
socket.socket.connect = connect
socket.socket.connect_ex = connect
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""

END = """
assert not asked, asked
"""

SMALL = "train.max_steps=1 train.save_steps=1 train.logging_steps=1"

COMMANDS = {
    "import": "",
    "tasks": "tasks",
    "check": "check --config demo/counting",
    "gpg": f"train --config demo/counting {SMALL} train.output_dir=OUT/gpg",
    "sft": f"train --config demo/counting algorithm=sft {SMALL} train.output_dir=OUT/sft",
    "eval": "eval --benchmark demo_counting --limit 8 --model demo --out OUT/eval",
}


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", *vrft.SILENT)
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment | variables, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_asks_nothing_of_the_network(name: str, tmp_path: Path) -> None:
    words = COMMANDS[name].replace("OUT", str(tmp_path)).split()
    # Without arguments of its own, `main` is the whole process's and quiets the libraries.
    call = f"sys.argv[1:] = {words!r}\nfrom vrft.cli.commands import main\nassert main() == 0"
    result = run(f"{BEGIN}\nimport vrft\n{call if words else ''}\n{END}")
    assert result.returncode == 0, result.stderr[-3000:]
    # "%|" stands in every bar of tqdm; a stream that is no terminal gets no control codes
    assert not re.search(r"%\||it/s|[\x00-\x09\x0b-\x1f]", result.stdout + result.stderr)


def test_the_test_hears_who_speaks() -> None:
    spoken = "import urllib.request as u\ntry: u.urlopen('http://example.com')\nexcept OSError: 0"
    result = run(f"{BEGIN}\n{spoken}\n{END}")
    assert result.returncode == 1 and "example.com" in result.stderr


@pytest.mark.parametrize("order", ["huggingface_hub.constants, vrft", "vrft, huggingface_hub"])
def test_libraries_do_not_report_their_use_whichever_is_imported_first(order: str) -> None:
    told = "import huggingface_hub.constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)"
    assert run(f"import {order}\n{told}").stdout == "True\n"
    # what the user has set stays
    chosen = run(f"import {order}\n{told}", HF_HUB_DISABLE_TELEMETRY="0", DO_NOT_TRACK="0")
    assert chosen.stdout == "False\n"
