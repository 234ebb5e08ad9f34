"""A stand-in for ``vrft train`` that counts: no model, but the folder, the log and --resume.

As a script it takes ``--config FILE train.output_dir=DIR``, or ``--resume DIR``, and adds up its
steps; ``SPOILED`` in its environment is added to the sum that a resumed run reads, ``STOPPED`` ends
it with a status at a step, and ``HELD`` is the step in which the run that is to be killed waits for
that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import yaml

HALVES = "killed-and-resumed"
"""The folder of the run that is to be killed."""


def main(arguments: list[str]) -> int:
    total = first = 0
    if arguments[0] == "--resume":
        run = Path(arguments[1])
        newest = max(int(p.name.partition("-")[2]) for p in run.glob("checkpoint-*"))
        state = json.loads((run / f"checkpoint-{newest}" / "trainer_state.json").read_text())
        total, first = state["sum"] + int(os.environ.get("SPOILED", "0")), newest
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(lines[:first]))
    else:
        run = Path(arguments[2].partition("=")[2])
        run.mkdir()
        (run / "config.yaml").write_text(Path(arguments[1]).read_text())
    train = yaml.safe_load((run / "config.yaml").read_text())["train"]
    for step in range(first + 1, train["max_steps"] + 1):
        if step == int(os.environ.get("STOPPED", "0")):
            print("vrft: error: out of memory", file=sys.stderr)
            return 2
        if step == int(os.environ.get("HELD", "0")) and run.name == HALVES and not first:
            time.sleep(600)
        time.sleep(0.1)
        total += step
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "time": time.time(), "sum": total}) + "\n")
        if step % train["save_steps"] == 0 or step == train["max_steps"]:
            folder = run / f"checkpoint-{step}"
            (run / "new").mkdir()
            (run / "new" / "trainer_state.json").write_text(json.dumps({"sum": total}))
            (run / "new").rename(folder)
    (run / "final").mkdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
