"""The fuzzer: inputs tried for every reader of answers, settings and data, and what they raised.

python benchmarks/reliability/fuzz.py --minutes 5 [--targets boxes numbers] [--publish]
python benchmarks/reliability/fuzz.py --engine atheris --minutes 5

Every target runs in a process of its own, within 6 GB, on one core. Hypothesis draws inputs, and
each is tried again with bytes changed, cut out and repeated. With ``--engine atheris``
(``pip install "vrft[fuzz]"``) the inputs that reach new lines of code are changed further. With
``--publish`` the table is written to RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # run as a script, whose folder alone is on the path
    sys.path.insert(0, str(ROOT))

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

from benchmarks.publishing import commit, markdown  # noqa: E402
from benchmarks.reliability.targets import TARGETS, Target  # noqa: E402

MEMORY = 6 * 2**30
"""Bytes of address space of a target's process."""

LONGEST_SECONDS = 2
"""Seconds of processor time after which an input counts as one that hangs."""

LONGEST_WAIT = 60
"""Seconds of the clock after which it does so, for an input that is waited for."""

MUTATIONS = 60
"""Changed copies of each input that hypothesis draws."""

BATCH = 20
"""Inputs that hypothesis draws before the clock is looked at."""


@dataclass
class Outcome:
    """The inputs tried on a target, and what they raised that is not declared."""

    target: str
    inputs: int = 0
    refused: int = 0
    """Inputs that ended in a declared error."""
    seconds: float = 0.0
    errors: dict[str, str] = field(default_factory=dict)
    """Exception and place -> the shortest input that raised it, as Python writes bytes."""


class Hanging(Exception):
    """An input took longer than LONGEST_SECONDS or LONGEST_WAIT."""


def hanging(signum: int, frame: FrameType | None) -> None:
    """Stop an input that takes too long."""
    raise Hanging(f"no end after {LONGEST_SECONDS} s of work, or {LONGEST_WAIT} s")


def find_hanging() -> None:
    """Have both alarms of ``attempt`` raise Hanging."""
    for alarm in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(alarm, hanging)


def attempt(target: Target, content: bytes, folder: Path, outcome: Outcome) -> None:
    """Give an input to a target, and keep what it raises unless that is declared."""
    outcome.inputs += 1
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    signal.alarm(LONGEST_WAIT)
    try:
        target.run(content, folder)
    except target.declared:
        outcome.refused += 1
    except Exception as error:  # the very thing that is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        named = f"{type(error).__name__}: {place.filename.rpartition('/')[2]}:{place.lineno}"
        shown = repr(content)
        if len(shown) < len(outcome.errors.get(named, shown + " ")):
            outcome.errors[named] = shown
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def batches(seconds: float, inputs: int | None, outcome: Outcome) -> Iterator[int]:
    """Yield the numbers of batches until the time is over, or so many inputs have been tried."""
    start = time.monotonic()
    number = 0
    while time.monotonic() - start < seconds and (inputs is None or outcome.inputs < inputs):
        yield number
        number += 1
        outcome.seconds = time.monotonic() - start


def fuzz(
    name: str, target: Target, seconds: float, *, inputs: int | None = None, start: int = 0
) -> Outcome:
    """Try inputs on a target for some seconds, or at least so many ``inputs``; ``start`` seeds."""
    outcome = Outcome(name)
    find_hanging()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(folder)
        for batch in batches(seconds, inputs, outcome):
            rng = random.Random(f"{name}/{start}/{batch}")

            def tried(content: bytes, rng: random.Random = rng) -> None:
                for changed in (content, *(target.mutate(content, rng) for _ in range(MUTATIONS))):
                    attempt(target, changed, place, outcome)

            draw(target, tried, BATCH if inputs is None else 10, start * 1_000_000 + batch)
    return outcome


def draw(target: Target, tried: Callable[[bytes], None], count: int, number: int) -> None:
    """Have hypothesis draw ``count`` inputs of a target by the seed ``number``."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def example(content: bytes) -> None:
        tried(content)

    example()


def limited(name: str, seconds: float, start: int, connection: Any) -> None:
    """Fuzz a target within the limits of a process, and send its outcome."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    connection.send(fuzz(name, TARGETS[name], seconds, start=start))


def fuzz_apart(name: str, seconds: float, start: int) -> Outcome:
    """Fuzz a target in a process of its own; one that dies is an error of the target's."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=limited, args=(name, seconds, start, theirs)
    )
    process.start()
    theirs.close()
    try:
        outcome: Outcome = ours.recv()
    except EOFError:
        process.join()
        outcome = Outcome(name, errors={f"the process died: exit {process.exitcode}": ""})
    process.join()
    return outcome


def fuzz_guided(name: str, seconds: float, start: int) -> Outcome:
    """Fuzz a target by atheris, in a program of its own whose modules report their lines."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "outcome.json"
        words = [name, "--seconds", f"{seconds:g}", "--seed", str(start), "--out", str(told)]
        program = [sys.executable, str(Path(__file__).with_name("guided.py")), *words]
        done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        outcome = Outcome(name)
        if told.is_file():
            outcome = Outcome(**json.loads(told.read_text(encoding="utf-8")))
        if done.returncode:
            end = done.stderr.decode(errors="replace")[-2000:]
            outcome.errors[f"the process died: exit {done.returncode}"] = end
    return outcome


ENGINES: Mapping[str, Callable[[str, float, int], Outcome]] = {
    "hypothesis": fuzz_apart,
    "atheris": fuzz_guided,
}


def check_engine(name: str) -> None:
    """Exit with one line where an engine is not installed."""
    if importlib.util.find_spec(name) is None:
        raise SystemExit(f'--engine {name}: not installed; pip install "vrft[fuzz]"')


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the table in Markdown, a row for a target and one for all."""
    lines: list[tuple[object, ...]] = [
        (o.target, f"{o.inputs:,}", f"{o.refused:,}", f"{o.seconds:.0f}", len(o.errors))
        for o in outcomes
    ]
    every = sum(o.inputs for o in outcomes), sum(len(o.errors) for o in outcomes)
    seconds = sum(o.seconds for o in outcomes)
    lines.append(("all", f"{every[0]:,}", "", f"{seconds:.0f}", every[1]))
    return markdown(("target", "inputs", "refused by a UserError", "s", "undeclared errors"), lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz, print the table and every undeclared error; return 1 if there was one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--engine", choices=ENGINES, default="hypothesis")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--publish", action="store_true", help="write fuzz.json and RESULTS.md")
    args = parser.parse_args(argv)
    check_engine(args.engine)
    outcomes = []
    for name in args.targets:
        outcome = ENGINES[args.engine](name, args.minutes * 60 / len(args.targets), args.seed)
        outcomes.append(outcome)
        print(f"{name}: {outcome.inputs:,} inputs", flush=True)
        for error, content in outcome.errors.items():
            print(f"  {error}: {content:.300}", flush=True)
    print(table(outcomes))
    if args.publish:
        publish(outcomes, args.seed, args.engine)
    return int(any(outcome.errors for outcome in outcomes))


def publish(outcomes: Sequence[Outcome], start: int, engine: str) -> None:
    """Add a run to fuzz.json, and write RESULTS.md from all that has been measured.

    Runs of an earlier commit whose errors have been mended are deleted by hand with the file.
    """
    from benchmarks.reliability import report

    source = {"commit": commit(), "date": datetime.now(UTC).date().isoformat(), "seed": start}
    source["engine"] = engine
    file = report.HERE / "fuzz.json"
    runs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    runs.append({"measured": source, "targets": [asdict(outcome) for outcome in outcomes]})
    file.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    report.write()


if __name__ == "__main__":
    sys.exit(main())
