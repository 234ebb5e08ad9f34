"""A target of the fuzzer under atheris, which changes the inputs that reach new lines of code.

python benchmarks/reliability/guided.py TARGET --seconds 60 --seed 1 --out OUTCOME.json

``fuzz.py --engine atheris`` starts it once a target, with an empty folder around OUTCOME.json. It
begins with inputs that hypothesis draws.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # run as a script, whose folder alone is on the path
    sys.path.insert(0, str(ROOT))

DRAWN = 200
"""Inputs that hypothesis draws as the first ones."""


def main() -> None:
    """Fuzz one target until the time is over, write its outcome, and leave the process."""
    import atheris

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    # The first import of the readers: only modules that are imported here report their lines.
    with atheris.instrument_imports(include=["vrft", "vrft_tasks"], enable_loader_override=False):
        from benchmarks.reliability import fuzz, targets
    target, outcome = targets.TARGETS[args.target], fuzz.Outcome(args.target)
    resource.setrlimit(resource.RLIMIT_AS, (fuzz.MEMORY, fuzz.MEMORY))
    warnings.simplefilter("ignore")
    place = args.out.parent / "inputs"
    place.mkdir()
    corpus = args.out.parent / "corpus"
    corpus.mkdir()
    drawn: list[bytes] = []
    fuzz.draw(target, drawn.append, DRAWN, args.seed)
    for number, content in enumerate(drawn):
        (corpus / str(number)).write_bytes(content)
    start = time.monotonic()

    def tried(content: bytes) -> None:
        fuzz.attempt(target, content, place, outcome)
        outcome.seconds = time.monotonic() - start
        if outcome.seconds >= args.seconds:
            args.out.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
            os._exit(0)  # libFuzzer has no other way to end between two inputs

    def changed(content: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        own = target.mutate(content, rng) if rng.random() < 0.5 else b""
        return own[:longest] or bytes(atheris.Mutate(content, longest))

    options = [f"-seed={args.seed % 2**31}", "-rss_limit_mb=0"]
    # Set first, so that libFuzzer leaves the alarm alone: it finds inputs without end.
    fuzz.find_hanging()
    atheris.Setup([sys.argv[0], *options, "-max_len=20000", str(corpus)], tried,
                  custom_mutator=changed)  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
