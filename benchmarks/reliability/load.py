"""What large data cost: seconds and peak memory of commands on a million rows and their like.

python benchmarks/reliability/load.py [--jobs rows pictures ...] [--scale 0.01] [--publish]

Every command runs in a process of its own on one core, with data that are made first and deleted
afterwards. ``--scale`` takes a part of all numbers. With ``--publish`` the table is written to
RESULTS.md; jobs that were not asked for keep their rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # run as a script, whose folder alone is on the path
    sys.path.insert(0, str(ROOT))

from benchmarks.publishing import commit, markdown  # noqa: E402

MEMORY = 16_000_000 * 1024
"""Bytes of address space of a measured process."""

LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Row:
    """The cost of a command."""

    job: str
    what: str
    seconds: float
    peak_mb: float
    note: str = ""


class LoadError(Exception):
    """A measured command failed."""


def measured(job: str, what: str, words: Sequence[str], note: str = "") -> Row:
    """Run a command on one core and return its seconds and its peak of resident memory.

    The peak is at least that of this process, of which the command begins as a copy. Raises
    LoadError with the end of its output where it fails. A note "last line" is the last line
    that it printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(
            words, stdout=output, stderr=errors, env=environment, preexec_fn=limit
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        said = output.read().decode(errors="replace").strip()
        if process.returncode:
            end = errors.read().decode(errors="replace")[-3000:]
            raise LoadError(f"{what}: exit {process.returncode}\n{end}")
    if note == "last line":
        note = said.splitlines()[-1]
    return Row(job, what, seconds, usage.ru_maxrss / 1000, note)


def limit() -> None:
    """Bound a measured process: one core, its memory, and its time."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds = int(LONGEST_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def vrft(*words: object) -> list[str]:
    """Return the words of a command of the toolkit."""
    return [sys.executable, "-m", "vrft", *map(str, words)]


def write_lines(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    """Write rows as lines of JSON, one at a time."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def question(number: int, **columns: Any) -> dict[str, Any]:
    """Return a row that asks for a sum of two numbers."""
    a, b = number % 997, number % 89
    return {"id": f"r{number}", "question": f"What is {a} + {b}?", "answer": a + b, **columns}


# --- jobs


def rows(folder: Path, scale: float) -> Iterator[Row]:
    """A million rows of text: read as samples, and the dry run of a training."""
    count = int(1_000_000 * scale)
    path = folder / "rows.jsonl"
    write_lines(path, (question(number) for number in range(count)))
    code = (
        "import sys; from vrft_tasks.vqa import Vqa; "
        "print(len(Vqa(sys.argv[1]).samples('train')), 'samples')"
    )
    reading = [sys.executable, "-c", code, str(path)]
    yield measured("rows", f"{count:,} rows of jsonl: the task's samples", reading, "last line")
    words = vrft("train", "--data", path, "--dry-run", "model=demo", "train.max_steps=10")
    yield measured("rows", f"{count:,} rows of jsonl: `vrft train --dry-run`", words)


def pictures(folder: Path, scale: float) -> Iterator[Row]:
    """Fifty thousand pictures, each opened by ``vrft check``."""
    from PIL import Image

    count = int(50_000 * scale)
    (folder / "pictures").mkdir()
    names = []
    for number in range(count):
        names.append(f"pictures/{number}.png")
        colour = (number % 256, number // 256 % 256, 7)
        image = Image.new("RGB", (28, 28), colour)
        image.putpixel((0, 0), (0, 0, 0))
        image.save(folder / names[-1])
    path = folder / "rows.jsonl"
    write_lines(path, (question(number, images=[name]) for number, name in enumerate(names)))
    words = vrft("check", "--data", path, "model=demo")
    yield measured("pictures", f"{count:,} pictures: `vrft check`", words)


def predictions(folder: Path, scale: float) -> Iterator[Row]:
    """Twenty thousand answers, scored and written as a page."""
    count = int(20_000 * scale)
    path, saved, out = folder / "rows.jsonl", folder / "saved.jsonl", folder / "out"
    write_lines(path, (question(number) for number in range(count)))
    text = "<think>I add the numbers.</think>\n<answer>{}</answer>"
    write_lines(saved, ({"id": f"r{n}", "text": text.format(n % 97)} for n in range(count)))
    words = vrft("eval", "--data", path, "--predictions", saved, "--out", out)
    yield measured("predictions", f"{count:,} predictions: `vrft eval --predictions`", words)
    words = vrft("view", out, "--export", folder / "page")
    yield measured("predictions", f"{count:,} predictions: `vrft view --export`", words)


def metrics(folder: Path, scale: float) -> Iterator[Row]:
    """A hundred thousand steps of metrics, as the page of a run asks for them."""
    count = int(100_000 * scale)
    names = ("loss", "reward", "grad_norm", "kl", "entropy", "learning_rate", "step_time")
    steps = ({"step": n + 1, "time": n, **dict.fromkeys(names, n / 7)} for n in range(count))
    write_lines(folder / "metrics.jsonl", steps)
    code = (
        "import sys; from pathlib import Path; from vrft.runs.run_log import read_metrics; "
        "print(len(read_metrics(Path(sys.argv[1]) / 'metrics.jsonl')), 'steps')"
    )
    words = [sys.executable, "-c", code, str(folder)]
    yield measured("metrics", f"{count:,} steps of metrics: read", words, "last line")


STEPS = """
import os, sys
from pathlib import Path
from dataclasses import replace
from fakes.bigram import CONFIG, run, with_train
from vrft.runs.stop_signal import StopSignal
from vrft.runs.run_log import RunLog
from vrft.training import loop
def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
made = run(with_train(CONFIG, max_steps=steps, save_steps=0, log_completions=False))
log = RunLog(folder)
write = log.metrics
seen = {}
def metrics(step, values):
    write(step, values)
    if step in (steps // 10, steps):
        seen[step] = resident()
log.metrics = metrics
class Never:
    number = None
loop.loop(made, folder, log, Never())
log.close()
early, late = seen[steps // 10], seen[steps]
print(f"{early:.0f} MB at step {steps // 10:,}, {late:.0f} MB at step {steps:,}")
"""
"""A run of the bigram policy of the tests, which has every part of a run but a model."""


def steps(folder: Path, scale: float) -> Iterator[Row]:
    """Ten thousand steps of a run, whose memory must not grow."""
    count = int(10_000 * scale)
    words = [sys.executable, "-c", STEPS, str(folder / "run"), str(count)]
    yield measured("steps", f"{count:,} steps of the tests' bigram policy", words, "last line")


JOBS: Mapping[str, Callable[[Path, float], Iterator[Row]]] = {
    "rows": rows,
    "pictures": pictures,
    "predictions": predictions,
    "metrics": metrics,
    "steps": steps,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the jobs, print their table, and return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--publish", action="store_true", help="write load.json and RESULTS.md")
    args = parser.parse_args(argv)
    done: list[Row] = []
    for name in args.jobs:
        with tempfile.TemporaryDirectory() as folder:
            for row in JOBS[name](Path(folder), args.scale):
                cost = f"{row.seconds:.1f} s, {row.peak_mb:.0f} MB"
                print(f"{row.what}: {cost} {row.note}", flush=True)
                done.append(row)
    cells = [(r.what, f"{r.seconds:.1f}", f"{r.peak_mb:.0f}", r.note) for r in done]
    print(markdown(("what", "s", "peak MB", ""), cells))
    if args.publish:
        publish(done)
    return 0


def publish(done: Sequence[Row]) -> None:
    """Write load.json, with earlier rows of other jobs, and RESULTS.md."""
    from benchmarks.reliability import report

    file = report.HERE / "load.json"
    old = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    measured_now = {"commit": commit(), "date": datetime.now(UTC).date().isoformat()}
    kept = [row for row in old if row["job"] not in {row.job for row in done}]
    every = [*kept, *({**asdict(row), **measured_now} for row in done)]
    every.sort(key=lambda row: list(JOBS).index(row["job"]))
    tree = {"measured": {"cores": 1, "python": sys.version.split()[0]}, "rows": every}
    file.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    report.write()


if __name__ == "__main__":
    sys.exit(main())
