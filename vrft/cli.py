"""The command line: parse, import what the command needs, call it, print.

Exit status: 0 done, 1 a check that did not pass, 2 a mistake of the user's (one line on standard
error), 130 interrupted. Bugs keep their traceback.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vrft import paths
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config import Config

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        command: Command = args.run
        return command(args)
    except UserError as error:
        print("vrft: error:", str(error).replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vrft: interrupted", file=sys.stderr)
        return 130


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line like every other mistake's."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command; ``key.path=value`` settings may stand anywhere among them."""
    args, rest = parser().parse_known_args(argv)
    takes_settings = "settings" in args
    for word in rest:
        if word.startswith("-") or not takes_settings:
            raise UserError(f"unknown argument {word}; see `vrft {args.verb} --help`")
    if takes_settings:
        args.settings = [*args.settings, *rest]
    return args


def parser() -> Parser:
    """The parser of all commands."""
    root = Parser(
        prog="vrft",
        description="Visual reinforcement fine-tuning of Qwen-VL models.",
        epilog="Each command has its own help: vrft train --help",
    )
    root.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    verbs = root.add_subparsers(dest="verb", metavar="command", required=True)
    add_train(verbs)
    add_eval(verbs)
    add_show(verbs)
    add_verb(verbs, "tasks", tasks, "list the tasks", "vrft tasks")
    add_check(verbs)
    add_config(verbs)
    add_verb(verbs, "env", env, "print versions and devices, for bug reports", "vrft env")
    return root


class Version(argparse.Action):
    """Prints the version; reads it only when asked, as that takes longer than all the rest."""

    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print("vrft", version("vrft"))
        raise SystemExit(0)


def add_verb(verbs: Any, name: str, run: Command, summary: str, example: str) -> Parser:
    """A command with its one-line summary and an example."""
    verb: Parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb


def add_settings(verb: Parser) -> None:
    verb.add_argument(
        "settings",
        nargs="*",
        default=[],
        metavar="key.path=value",
        help="settings that override the file's, such as train.learning_rate=1e-6",
    )


def add_train(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "train",
        train,
        "train a model on a task",
        "vrft train --task lisa_grounding --config demo/lisa_grounding train.max_steps=20",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument(
        "--config",
        metavar="NAME|FILE.yaml",
        help="a name of `vrft config list`, or a file; default: the one named like the task",
    )
    verb.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in a folder")
    verb.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, train nothing"
    )
    add_settings(verb)


def add_eval(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "eval",
        evaluate,
        "evaluate a model, or saved predictions, on a benchmark",
        "vrft eval --benchmark lisa_val --data ReasonSeg --model runs/my_run/final",
    )
    verb.add_argument("--benchmark", metavar="NAME|FILE.yaml", help="what to evaluate on")
    verb.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    source = verb.add_mutually_exclusive_group()
    source.add_argument("--model", metavar="DIR|ID", help="a folder, a hub id, or `demo`")
    source.add_argument(
        "--predictions", type=Path, metavar="FILE", help="score saved answers, without a model"
    )
    verb.add_argument("--data", metavar="DIR", help="where the benchmark's data lies")
    verb.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    verb.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    verb.add_argument("--batch-size", type=positive, default=8, metavar="N", help="default: 8")
    verb.add_argument(
        "--blank-images",
        action="store_true",
        help="show the model grey pictures: what it scores without looking",
    )
    add_settings(verb)


def add_show(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "show",
        show,
        "make a page of pictures from saved predictions, the worst first",
        "vrft show runs/my_run/eval/predictions.jsonl --worst 50",
    )
    verb.add_argument("predictions", type=Path, metavar="predictions.jsonl")
    verb.add_argument("--out", type=Path, metavar="FILE", help="default: beside the predictions")
    verb.add_argument("--worst", type=positive, default=20, metavar="N", help="default: 20")


def add_check(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "check",
        check,
        "check a task and its data: gold answers, pictures, lengths, leaks",
        "vrft check --task lisa_grounding task.data_dir=ReasonSeg",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument("--config", metavar="NAME|FILE.yaml", help="settings to check it with")
    verb.add_argument("--json", action="store_true", help="print the result as JSON")
    add_settings(verb)


def add_config(verbs: Any) -> None:
    config = verbs.add_parser("config", help="list, show or copy the shipped configurations")
    actions = config.add_subparsers(dest="action", metavar="action", required=True)
    add_verb(actions, "list", config_list, "list the shipped configurations", "vrft config list")
    verb = add_verb(
        actions,
        "show",
        config_show,
        "print a configuration with every setting resolved",
        "vrft config show demo/lisa_grounding train.max_steps=20",
    )
    verb.add_argument("name", metavar="NAME|FILE.yaml")
    add_settings(verb)
    verb = add_verb(
        actions,
        "copy",
        config_copy,
        "copy a shipped configuration, to edit it",
        "vrft config copy lisa_grounding my_run.yaml",
    )
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("to", type=Path, nargs="?", metavar="FILE", help="default: NAME.yaml here")


def positive(text: str) -> int:
    """An integer above zero; ValueError, which argparse explains, for anything else."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def resolve(args: argparse.Namespace) -> Config:
    """The configuration that ``--task``, ``--config``, ``--resume`` and the settings name.

    Without a file, a task takes the shipped configuration of its own name if there is one.
    """
    from vrft import config

    source = args.config
    if source is None and vars(args).get("resume") is not None:
        source = str(args.resume / "config.yaml")
        if not Path(source).is_file():
            raise UserError(f"--resume {args.resume}: no run there, config.yaml is missing")
    if source is None and args.task in paths.names("configs"):
        source = args.task
    if source is None and args.task is None:
        raise UserError("give --task or --config; `vrft tasks` and `vrft config list` list them")
    task = [f"task.name={args.task}"] if args.task is not None else []
    return config.load(source, [*task, *args.settings])


def train(args: argparse.Namespace) -> int:
    config = resolve(args)
    if config.algorithm.name == "sft":
        from vrft import sft as trainer
    else:
        from vrft import train as trainer
    run = trainer.train(config, resume=args.resume, dry_run=args.dry_run)
    if not args.dry_run:
        print(f"run: {run}")
        print(f"model: {run / 'final'}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(paths.names("benchmarks")))
        return 0
    if args.benchmark is None:
        raise UserError("give --benchmark; `vrft eval --list` lists them")
    raise NotImplementedError


def show(args: argparse.Namespace) -> int:
    from vrft import viz

    print(viz.show(args.predictions, out=args.out, worst=args.worst))
    return 0


def tasks(args: argparse.Namespace) -> int:
    from vrft import registry

    print_pairs(registry.names())
    return 0


def check(args: argparse.Namespace) -> int:
    raise NotImplementedError


def config_list(args: argparse.Namespace) -> int:
    print("\n".join(paths.names("configs")))
    return 0


def config_show(args: argparse.Namespace) -> int:
    from vrft import config

    print(config.to_yaml(config.load(args.name, args.settings)), end="")
    return 0


def config_copy(args: argparse.Namespace) -> int:
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


def env(args: argparse.Namespace) -> int:
    from vrft import environment

    print_pairs(environment.describe())
    return 0


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Two columns, the first as wide as its longest entry."""
    width = max(map(len, pairs), default=0)
    for name, text in pairs.items():
        print(f"{name:{width}}  {text}".rstrip())
