"""A training step against TRL's: equality, counts, times, memory, and RESULTS.md.

python -m benchmarks.speed --quick --device cpu
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks.speed.settings import SETTINGS


def main(argv: Sequence[str] | None = None) -> int:
    """Measure as the options say and publish; return 2 where the two sides do not agree."""
    options = arguments().parse_args(argv)
    # torch and its libraries read these when they are imported, here and in the lanes
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.device == "cpu":
        # else TRL and accelerate would find a GPU that is there and use it
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # imported here, as it imports torch
    from benchmarks.speed import command
    from vrft.errors import UserError

    try:
        command.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="ten minutes on two cores (default)")
    mode.add_argument("--learning", action="store_true", help="held-out reward over time (CPU)")
    mode.add_argument("--tied", action="store_true", help="LISA with half of the groups tied")
    mode.add_argument("--levers", action="store_true", help="each lever switched off (CPU)")
    mode.add_argument("--growth", action="store_true", help="costs that grow with work (CPU)")
    mode.add_argument("--prefixes", action="store_true", help="shared prompts of text (CPU)")
    mode.add_argument("--profile", action="store_true", help="where a step's time goes (CPU)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of steps for each setting")
    seeds = [*range(1, 9)]
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds, help="of --learning")
    parser.add_argument("--rounds", type=int, default=3, help="of --levers and --prefixes")
    parser.add_argument("--bed", choices=("demo", "walks"), default="demo", help="of --learning")
    parser.add_argument("--lanes", type=int, help="processes beside each other")
    parser.add_argument("--shape", choices=("cpu-third", "cpu", "2b", "test"), help="of the model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
