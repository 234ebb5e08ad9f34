"""``vrft train`` whose resumed runs begin with a state that is a little wrong."""

from __future__ import annotations

import sys
from typing import Any

from vrft import cli
from vrft.training import checkpoint

restore = checkpoint.restore_state


def spoil(folder: Any, optimizer: Any, *rest: Any) -> None:
    restore(folder, optimizer, *rest)
    for state in optimizer.state.values():
        state["exp_avg"] *= 1.01


if __name__ == "__main__":
    checkpoint.restore_state = spoil
    sys.exit(cli.main(["train", *sys.argv[1:]]))
