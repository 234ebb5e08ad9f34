"""The paper's tables at the scale of one CPU: run what is missing, and publish RESULTS.md.

python -m benchmarks.paper table3 --budget 60
python -m benchmarks.paper report
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.paper import demo_tasks, experiment, figure3, report, study
from benchmarks.paper.experiment import Resources
from benchmarks.paper.tables import STUDIES, TITLES
from vrft.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and publish; return 0, 1 if results are missing or bad, 2 for an error."""
    options = arguments().parse_args(argv)
    complete = True
    try:
        if options.command in STUDIES:
            complete = run_studies(options)
        elif options.command == demo_tasks.NAME:
            complete = run_demo_tasks(options)
        elif options.command == figure3.NAME:
            figure3.keep_curves(options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # also after a budget that ran out: the page shows what there is
    print(report.publish())
    return 0 if complete else 1


def arguments() -> argparse.ArgumentParser:
    """Return the parser, with one command for each table and figure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    for name, title in TITLES.items():
        tasks = [item.plan.task for item in STUDIES[name]]
        add_command(commands, name, title, tasks, seeds=[42, 43, 44, 45, 46])
    title = "every demo task: untrained against trained"
    add_command(commands, demo_tasks.NAME, title, list(demo_tasks.BENCHMARKS), seeds=[42, 43, 44])

    title = "loss, reward and length over training, from the runs of table3"
    figure = commands.add_parser(figure3.NAME, help=title, description=title)
    add_out(figure)
    title = "publish what is kept, and run nothing"
    commands.add_parser("report", help=title, description=title)
    return parser


def add_command(
    commands: Any,
    name: str,
    title: str,
    tasks: Sequence[str],
    seeds: Sequence[int],
) -> None:
    """Add a command that trains; ``commands`` are the parser's subparsers."""
    parser = commands.add_parser(name, help=title, description=title)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks))
    # other seeds than SEARCH_SEED, with which the learning rates were chosen
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    add_out(parser)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--threads", type=int, help="threads of each; default: cores / jobs")
    parser.add_argument(
        "--budget", type=float, default=float("inf"), help="minutes after which no run is begun"
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of the runs."""
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), help="folder of the runs")


def resources(options: argparse.Namespace) -> Resources:
    """Return the folder, processes, threads and minutes that the options allow."""
    return Resources(options.out, options.jobs, options.threads, options.budget)


def run_studies(options: argparse.Namespace) -> bool:
    """Run the studies of a table within one budget, print them, and tell whether all is there."""
    allowed, complete = resources(options), True
    # the studies share one budget, in their order
    deadline = time.monotonic() + 60 * allowed.budget
    for item in STUDIES[options.command]:
        if item.plan.task not in options.tasks:
            continue
        left = (deadline - time.monotonic()) / 60
        results = study.run(item, options.seeds, replace(allowed, budget=left))
        # arms whose search is unfinished have no runs at all
        complete &= len(results) == len(item.arms) * len(options.seeds)
        print(report.study_table(item, results), report.verdicts(item, results), sep="\n\n")
        print()
    return complete


def run_demo_tasks(options: argparse.Namespace) -> bool:
    """Run the demo tasks, print them, and tell whether every gain is surely above zero."""
    trials = demo_tasks.trials(options.tasks, options.seeds)
    results = experiment.measure(demo_tasks.NAME, trials, resources(options))
    print(demo_tasks.table(results))
    print(demo_tasks.verdict(results, len(trials)))
    return len(results) == len(trials) and all(result.low > 0 for result in results)


if __name__ == "__main__":
    sys.exit(main())
