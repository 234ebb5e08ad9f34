"""A run that tells a tracker of two steps while the network is closed.

python -m fakes.tracked_run TRACKER FOLDER is a process of its own: W&B and Trackio start others,
and read where they may write when they are imported.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.boxes import Box
from vrft.runs.run_log import RunLog
from vrft.runs.tracked_rollouts import RolloutGroup

TEXTS = ("(250,500),(750,1000)", "<script>alert(1)</script> \ud83d", "nothing")
REWARDS = (1.0, 0.25, 0.25)
ADVANTAGES = (0.5, -0.25, -0.25)
TRUE = Box(0.25, 0.5, 0.75, 1.0)


def rows() -> list[dict[str, Any]]:
    """Return a group of three completions: one with a box, one with another, one without."""
    boxes: Sequence[list[float] | None] = ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.5, 0.25], None)
    return [
        {
            "sample_id": "a1",
            "text": text,
            "parsed": box,
            "finished": True,
            "tokens": 4 + number,
            "rewards": {"iou": REWARDS[number], "brief": None if number else 1.0},
            "reward": REWARDS[number],
            "advantage": ADVANTAGES[number],
        }
        for number, (text, box) in enumerate(zip(TEXTS, boxes, strict=True))
    ]


def group(picture: Path | Image.Image | None) -> RolloutGroup:
    """Return the group with its prompt and true box."""
    return RolloutGroup("a1", "the <b>cup</b>", rows(), picture, (TRUE,), boxed=True)


def follow(tracker: str, folder: Path) -> None:
    """Log two steps of a run, the first with its completions."""
    log = RunLog(folder, [tracker], settings={"train.seed": 7, "train.output_dir": "runs/x"})
    shown = [group(Image.new("RGB", (200, 100), "grey"))]
    for step in (1, 2):
        log.metrics(step, {"loss": step / 2})
        log.rollouts(step, rows(), shown if step == 1 else (), pictures=True)
    log.close()


def refuse(*args: Any, **words: Any) -> Any:
    """Stand in for every way to the network."""
    raise OSError(f"the network is closed: {args}")


def close_network() -> None:
    """Let sockets reach this machine alone: W&B speaks to its own process there."""
    connect = socket.socket.connect

    def near(own: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if own.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            refuse(address)
        connect(own, address)

    socket.socket.connect = near  # type: ignore[method-assign]
    socket.gethostbyname = refuse


if __name__ == "__main__":
    close_network()
    follow(sys.argv[1], Path(sys.argv[2]))
