"""The commands: each imports the modules that it needs, calls them, and prints.

Exit status: 0 done, 1 a check that did not pass, 2 a mistake of the user's (one line on standard
error), 130 interrupted, 141 cut off by a closed pipe. Bugs keep their traceback.

Imports of rooms stand inside the commands: `vrft --help` and `vrft tasks` must not wait for torch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.cli import arguments, data
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        args = arguments.parse(sys.argv[1:] if argv is None else argv)
        status = COMMANDS[args.command](args)
        sys.stdout.flush()  # here, where a closed pipe is still caught, and not at Python's exit
        return status
    except UserError as error:
        # Of an error from a library, quoted in ours, line breaks may be left.
        print("vrft: error:", str(error).replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vrft: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def resolve(args: argparse.Namespace, resume: Path | None = None) -> Config:
    """Return the configuration that ``--task``, ``--config``, ``--resume`` and settings name.

    Without a file, a run to resume brings its own configuration, and a task takes the shipped one
    of its name. Data without a task are for the one that reads them, vqa or grounding. A resumed
    run stays in its folder, wherever that has been moved to. Raises UserError where no task is
    named, where ``resume`` holds no run, and for settings that cannot change within a run.
    """
    from vrft import config

    source, name = args.config, args.task
    if args.data is not None and source is None and name is None and resume is None:
        split = getattr(args, "splits", "train").split(",")[0]
        name = config.load(None, args.settings).task.name or data.task_of(
            args.data, split, args.settings
        )
    if source is None and resume is not None:
        if not (resume / "config.yaml").is_file():
            raise UserError(f"--resume {resume}: no run there, config.yaml is missing")
        source = str(resume / "config.yaml")
    if source is None and name in paths.names("configs"):
        source = name
    resolved = config.load(source, args.settings)
    if args.task is not None:
        check_task(args, resolved.task.name)
    if name is not None:
        # Only the name: settings of the task in the file stay, as they do for task=NAME.
        resolved = replace(resolved, task=replace(resolved.task, name=name))
    if args.data is not None:
        settings = {**resolved.task.settings, "data_dir": args.data}
        resolved = replace(resolved, task=replace(resolved.task, settings=settings))
    if args.reward:
        if resume is not None:
            raise UserError(f"--resume {resume} goes on with the run's rewards; leave --reward out")
        # From anywhere, a resumed run must find the files again.
        rewards = (*resolved.algorithm.rewards, *map(os.path.abspath, args.reward))
        resolved = replace(resolved, algorithm=replace(resolved.algorithm, rewards=rewards))
    if resume is not None:
        resolved = resumed(resolved, resume, args.settings)
    if not resolved.task.name:
        raise UserError("give --task or --config; `vrft tasks` and `vrft config list` list them")
    return resolved


def resumed(config: Config, run: Path, settings: Sequence[str]) -> Config:
    """Return the configuration of a run that goes on in its own folder.

    Raises UserError for another folder, and for settings that cannot change within a run.
    """
    from vrft.training import resume

    given = any(setting.partition("=")[0].strip() == "train.output_dir" for setting in settings)
    if given and Path(config.train.output_dir).resolve() != run.resolve():
        raise UserError(
            f"--resume {run}: train.output_dir={config.train.output_dir} names another folder; a "
            "resumed run stays in its own, so leave it out"
        )
    config = replace(config, train=replace(config.train, output_dir=str(run)))
    resume.check_settings(config, run)  # before the task is built, which may be another's
    return config


def check_task(args: argparse.Namespace, configured: str) -> None:
    """Raise UserError if the settings are ``configured`` for another task than ``--task`` names.

    A task in a file may build on a shipped one, and takes the settings of any.
    """
    if configured in ("", args.task) or args.task.endswith(".py"):
        return
    resume = getattr(args, "resume", None)
    former = f"--resume {resume}" if resume else f"task={configured}"
    source = f"--config {args.config}" if args.config else former
    raise UserError(
        f"--task {args.task}: {source} is for the task {configured}; leave one of them out, or add "
        f"task={args.task} to take its other settings"
    )


def train(args: argparse.Namespace) -> int:
    """Train a model, or print the plan of it."""
    config = resolve(args, args.resume)
    if config.task.name in data.TASKS:
        from vrft import registry

        data.say_reading(registry.build(config.task), "train")
    if config.algorithm.name == "sft":
        from vrft.training import sft

        run = sft.train(config, resume=args.resume, dry_run=args.dry_run)
    else:
        from vrft.training import train

        run = train.train(config, resume=args.resume, dry_run=args.dry_run)
    # One process speaks for all that a launcher has started.
    if not args.dry_run and os.environ.get("RANK", "0") == "0":
        print(f"run: {run}")
        print(f"model: {run / 'final'}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate a model or saved predictions, or list the benchmarks."""
    from vrft import config

    if args.list:
        benchmarks = {name: paths.find("benchmarks", name) for name in paths.names("benchmarks")}
        print_pairs({name: config.read(p).get("title", "") for name, p in benchmarks.items()})
        return 0
    if args.benchmark is None and args.data is None:
        raise UserError("give --benchmark NAME; `vrft eval --list` lists them")
    if args.model is None and args.predictions is None and args.all_checkpoints is None:
        raise UserError("give --model DIR or ID, --all-checkpoints RUN, or --predictions FILE")
    if args.boxes is not None and args.predictions is None:
        raise UserError("--boxes says how the answers of --predictions are written; leave it out")
    from vrft.evaluation import checkpoints, evaluate, locate, report
    from vrft.evaluation.benchmark import load_benchmark

    if args.all_checkpoints is not None:
        args.model = str(args.all_checkpoints)
    elif args.model is not None:
        args.model = locate.model(args.model)
    # A benchmark is a task with its sampling; the model's settings belong to what is measured.
    of_model = [setting for setting in args.settings if setting.startswith("model.")]
    others = [setting for setting in args.settings if setting not in of_model]
    if args.benchmark is None:
        args.benchmark = data.task_of(args.data, "test", others)
        trained = data.settings_of_run(args.model, args.benchmark) if args.model else []
        others = [*trained, *others]
    benchmark = load_benchmark(args.benchmark, others, args.data)
    if benchmark.task.name in data.TASKS:
        from vrft import registry

        data.say_reading(registry.build(benchmark.task), benchmark.split)
    out: Path | None = args.out
    if args.predictions is not None:
        result = evaluate.score_file(
            args.predictions,
            benchmark,
            limit=args.limit,
            out=out,
            boxes=args.boxes,
            fresh=args.fresh,
        )
    else:
        model = replace(config.load(None, of_model).model, name=str(args.model))
        out = out or results_folder(args)
        options: dict[str, Any] = {
            "batch_size": args.batch_size,
            "limit": args.limit,
            "blank_images": args.blank_images,
            "fresh": args.fresh,
        }
        if args.all_checkpoints is not None:
            run = args.all_checkpoints
            reports = checkpoints.run_all(run, benchmark, model, out, **options)
            notes = next(iter(reports.values())).notes
            print(report.text(report.checkpoint_table(reports), notes=notes))
            print(f"table: {out / checkpoints.SUMMARY}")
            return 0
        result = evaluate.run(benchmark, model, out, **options)
    print(report.text(report.table(result), notes=result.notes))
    if out is not None:
        print(f"page: {out / 'index.html'}")
    return 0


def results_folder(args: argparse.Namespace) -> Path:
    """Return the default folder of an evaluation's results: one for each kind of evaluation.

    An interrupted evaluation is found again by it, and none is taken for another.
    """
    parts = [Path(args.benchmark).stem, *Path(args.model).parts]
    # These benchmarks are for any data, whose results must not lie in one folder.
    parts += [Path(args.data).stem] if args.data and args.benchmark in data.TASKS else []
    parts += ["blank"] if args.blank_images else []
    parts += [f"first{args.limit}"] if args.limit else []
    # Neither "/" nor ".." of a model's path may lead out of runs/eval.
    return Path("runs", "eval", "-".join(part.strip("/.") for part in parts if part.strip("/.")))


def show(args: argparse.Namespace) -> int:
    """Write a page of saved predictions, the worst first."""
    from vrft.evaluation import locate, results

    print("page:", results.show(locate.evaluation(args.predictions), args.out, worst=args.worst))
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare two evaluations of the same samples."""
    from vrft.evaluation import comparison, locate, report

    pairing = comparison.pair(locate.evaluation(args.before), locate.evaluation(args.after))
    if args.json:
        print(report.json_text(pairing))
    else:
        table = report.text(report.pairing_table(pairing), notes=[pairing.note])
        lines = [table, *report.change_lines(pairing)]
        print("\n".join(lines))
    return 0


def tasks(args: argparse.Namespace) -> int:
    """List the installed tasks."""
    from vrft import registry

    print_pairs(registry.names())
    return 0


def algorithms(args: argparse.Namespace) -> int:
    """Print the table of training methods and the papers that they are from."""
    from vrft.config.methods import METHODS
    from vrft.training.algorithms import table_row

    rows = [table_row(name) for name in METHODS]
    print_columns([list(rows[0]), *(list(row.values()) for row in rows)])
    print("\nEach is a set of defaults for algorithm.*; they are those of:")
    print_pairs({name: method.source for name, method in METHODS.items()})
    return 0


def check(args: argparse.Namespace) -> int:
    """Check a task and its data before training; status 1 if a problem is found."""
    from vrft import registry
    from vrft.checks import check
    from vrft.checks.findings import Finding, Findings
    from vrft.models import prompt_tokens

    config = resolve(args)
    task = registry.build_rewarded(config.task, config.algorithm)
    data.say_reading(task, args.splits.split(",")[0])
    try:
        # By the model's processor alone: counting a prompt's tokens needs no weights.
        counter, uncounted = prompt_tokens.load_counter(config.model), Findings()
    except UserError as error:
        # A check of the data is worth having without the model: offline, or before its download.
        note = Finding(f"prompts are not counted in tokens: {error}")
        counter, uncounted = None, Findings(notes=(note,))
    smallest, largest = check.PIXELS
    result = check.check(
        task,
        args.splits.split(","),
        counter,
        limit=args.limit,
        pixels=(config.model.min_pixels or smallest, config.model.max_pixels or largest),
        longest=config.sampling.max_prompt_length,
    )
    result = replace(result, findings=result.findings + uncounted)
    lines = [json.dumps(result.to_json(), indent=2)] if args.json else result.lines()
    print("\n".join(lines))
    return 0 if result.ok else 1


def config_list(args: argparse.Namespace) -> int:
    """List the shipped configurations."""
    print("\n".join(paths.names("configs")))
    return 0


def config_show(args: argparse.Namespace) -> int:
    """Print a configuration with every setting resolved."""
    from vrft import config

    print(config.to_yaml(config.load(args.name, args.settings)), end="")
    return 0


def config_copy(args: argparse.Namespace) -> int:
    """Copy a shipped configuration, never over a file that is there already."""
    source = paths.find("configs", args.name)
    target: Path = args.to or Path(source.name)
    if target.exists():
        raise UserError(f"{target} exists already; give another name: vrft config copy NAME FILE")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    print(target)
    return 0


def demo(args: argparse.Namespace) -> int:
    """Train and evaluate the embedded model; status 1 if it did not learn to look."""
    from vrft.cli import demo

    return demo.run(args, main)


def env(args: argparse.Namespace) -> int:
    """Print versions and devices."""
    from vrft.cli import environment

    print_pairs(environment.versions_and_devices())
    return 0


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print two columns, the first as wide as its longest entry."""
    print_columns(list(pairs.items()))


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print columns, each as wide as its longest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "eval": evaluate,
    "show": show,
    "compare": compare,
    "tasks": tasks,
    "algorithms": algorithms,
    "check": check,
    "config list": config_list,
    "config show": config_show,
    "config copy": config_copy,
    "data convert": data.convert,
    "demo": demo,
    "env": env,
}
"""The function of each command, by the name that ``arguments`` gives it."""
