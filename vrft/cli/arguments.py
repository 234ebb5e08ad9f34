"""The grammar of the command line: every command with its options, help and example."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from vrft.cli import demo
from vrft.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, as the rest of the toolkit does."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError, instead of argparse's usage text and exit."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command, with ``key.path=value`` settings anywhere among them.

    Raises UserError for a word that the command does not know, and SystemExit for ``--help``.
    """
    # argparse takes positional words in one piece only: a setting behind the next option is left
    # over, and so is a misspelt option. Options begin with a dash, settings do not.
    args, rest = parser().parse_known_args(argv)
    takes_settings = "settings" in args
    for word in rest:
        if word.startswith("-") or not takes_settings:
            raise UserError(f"unknown argument {word}; see `vrft {args.command} --help`")
    if takes_settings:
        args.settings = [*args.settings, *rest]
    return args


def parser() -> Parser:
    """Return the parser of all commands."""
    root = Parser(
        prog="vrft",
        description="Visual reinforcement fine-tuning of Qwen-VL models.",
        epilog="Each command has its own help: vrft train --help",
    )
    root.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    verbs = root.add_subparsers(metavar="command", required=True)
    add_train(verbs)
    add_eval(verbs)
    add_prompts(verbs)
    add_show(verbs)
    add_compare(verbs)
    add_verb(verbs, "tasks", "list the tasks", "vrft tasks")
    add_verb(verbs, "algorithms", "compare the training methods", "vrft algorithms")
    add_check(verbs)
    add_plan(verbs)
    add_verify_resume(verbs)
    add_config(verbs)
    add_data(verbs)
    add_demo(verbs)
    add_verb(verbs, "env", "print versions and devices, for bug reports", "vrft env")
    return root


class Version(argparse.Action):
    """The action of ``--version``, unlike argparse's own without the version at hand."""

    def __call__(self, *_: Any) -> NoReturn:
        """Print the version and exit."""
        # Reading the package's metadata takes longer than all the rest of `vrft --help`.
        from importlib.metadata import version

        print("vrft", version("vrft"))
        raise SystemExit(0)


def add_verb(verbs: Any, name: str, summary: str, example: str) -> Parser:
    """Add a command with its one-line summary and an example; return its parser.

    ``command`` of the parsed arguments is then its name, "config list" for one of two words.
    """
    verb: Parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        # argparse would fill the example up into one paragraph, and break it where it is long.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # The parser knows its place among the verbs: "vrft config list".
    verb.set_defaults(command=verb.prog.removeprefix("vrft "))
    return verb


def add_settings(verb: Parser) -> None:
    """Add the ``key.path=value`` settings that a command takes."""
    verb.add_argument(
        "settings",
        nargs="*",
        default=[],  # and not None: `parse` adds the settings that stand between options
        metavar="key.path=value",
        help="settings that override the file's, such as train.learning_rate=1e-6",
    )


def add_reward(verb: Parser) -> None:
    """Add ``--reward``, which may be given several times."""
    verb.add_argument(
        "--reward",
        action="append",
        default=[],
        metavar="FILE.py:FUNCTION[=WEIGHT]",
        help="a reward function written for TRL, beside the task's own rewards; may be repeated",
    )


def add_train(verbs: Any) -> None:
    """Add ``vrft train``."""
    verb = add_verb(
        verbs,
        "train",
        "train a model on a task",
        "vrft train --task lisa_grounding --config demo/lisa_grounding train.max_steps=20",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument(
        "--config",
        metavar="NAME|FILE.yaml",
        help="a name of `vrft config list`, or a file; default: the one named like the task",
    )
    verb.add_argument(
        "--data",
        metavar="DIR|FILE|ID",
        help="the data, of any known format; without --task they choose vqa or grounding",
    )
    add_reward(verb)
    verb.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in a folder")
    verb.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, train nothing"
    )
    add_settings(verb)


def add_eval(verbs: Any) -> None:
    """Add ``vrft eval``."""
    verb = add_verb(
        verbs,
        "eval",
        "evaluate a model, or saved predictions, on a benchmark",
        "vrft eval --benchmark lisa_val --data ReasonSeg --model runs/my_run/final",
    )
    verb.add_argument("--benchmark", metavar="NAME|FILE.yaml", help="what to evaluate on")
    verb.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    # None is required by argparse, as `--list` needs none: `evaluation.check_options` asks for one.
    source = verb.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        metavar="DIR|ID",
        help="a folder, a hub id, or `demo`; a run for its final or last checkpoint, or RUN/best; "
        "the server's name for it with --endpoint",
    )
    source.add_argument(
        "--all-checkpoints",
        type=Path,
        metavar="RUN",
        help="every checkpoint of a run and its final, in one table and checkpoints.json",
    )
    source.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="score saved answers, without a model; also those of a batch service",
    )
    verb.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask the model of a server with OpenAI's protocol, such as http://127.0.0.1:8000/v1; "
        "see endpoint.* in docs/endpoints.md",
    )
    add_processor(verb)
    verb.add_argument(
        "--concurrency", type=positive, metavar="N", help="requests at a time; default: 8"
    )
    verb.add_argument(
        "--data",
        metavar="DIR|FILE|ID",
        help="where the benchmark's data lies; without --benchmark, rows of any known format",
    )
    verb.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    verb.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    verb.add_argument("--batch-size", type=positive, metavar="N", help="default: 8")
    verb.add_argument(
        "--blank-images",
        action="store_true",
        help="show the model grey pictures: what it scores without looking",
    )
    verb.add_argument(
        "--boxes",
        choices=["thousandths", "pixels", "fractions"],
        help="how the answers of --predictions write boxes, where their lines have no views; "
        "pixels are those of the picture's file",
    )
    verb.add_argument(
        "--fresh", action="store_true", help="forget the evaluation that the folder of results has"
    )
    add_settings(verb)


def add_processor(verb: Parser) -> None:
    """Add ``--processor``, by which the pictures of an endpoint are resized."""
    verb.add_argument(
        "--processor",
        metavar="DIR|ID",
        help="the model's folder or hub id: an endpoint is sent pictures as its processor resizes "
        "them; or give endpoint.family=NAME",
    )


def add_prompts(verbs: Any) -> None:
    """Add ``vrft prompts``."""
    verb = add_verb(
        verbs,
        "prompts",
        "write the requests of a benchmark for a batch service",
        "vrft prompts --benchmark cvbench --model NAME --out requests.jsonl "
        "endpoint.family=qwen2_5_vl",
    )
    verb.add_argument("--benchmark", metavar="NAME|FILE.yaml", help="what to ask")
    verb.add_argument("--data", metavar="DIR|FILE|ID", help="where the benchmark's data lies")
    verb.add_argument("--out", type=Path, metavar="FILE", required=True, help="a new file")
    verb.add_argument("--model", metavar="NAME", help="the service's name for the model")
    add_processor(verb)
    verb.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")
    verb.add_argument("--blank-images", action="store_true", help="send grey pictures")
    verb.add_argument(
        "--max-size",
        type=positive,
        default=200,
        metavar="MB",
        help="size of a file at most; more requests go to further files; default: 200",
    )
    add_settings(verb)


def add_show(verbs: Any) -> None:
    """Add ``vrft show``."""
    verb = add_verb(
        verbs,
        "show",
        "make a page of pictures from saved predictions, the worst first",
        "vrft show runs/my_run/eval/predictions.jsonl --worst 50",
    )
    verb.add_argument(
        "predictions",
        type=Path,
        metavar="FILE|DIR|RUN",
        help="predictions.jsonl, its folder, or a run, of which the newest evaluation is taken",
    )
    verb.add_argument("--out", type=Path, metavar="FILE", help="default: beside the predictions")
    verb.add_argument("--worst", type=positive, default=20, metavar="N", help="default: 20")


def add_compare(verbs: Any) -> None:
    """Add ``vrft compare``."""
    verb = add_verb(
        verbs,
        "compare",
        "compare two evaluations of the same samples",
        "vrft compare runs/eval/lisa_val-base runs/my_run/eval",
    )
    for name in ("before", "after"):
        verb.add_argument(
            name, type=Path, metavar=name.upper(), help="the folder of an evaluation, or a run"
        )
    verb.add_argument("--json", action="store_true", help="print the result as JSON")


def add_check(verbs: Any) -> None:
    """Add ``vrft check``."""
    verb = add_verb(
        verbs,
        "check",
        "check a task and its data: gold answers, pictures, lengths, leaks",
        "vrft check --task lisa_grounding --splits train,val,test --data ReasonSeg",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument("--config", metavar="NAME|FILE.yaml", help="settings to check it with")
    verb.add_argument("--data", metavar="DIR|FILE|ID", help="the data, short for task.data_dir=...")
    add_reward(verb)
    verb.add_argument(
        "--splits",
        default="train",
        metavar="A,B",
        help="splits to check and to compare with the first; default: train",
    )
    verb.add_argument("--limit", type=positive, metavar="N", help="only N samples of each split")
    verb.add_argument("--json", action="store_true", help="print the result as JSON")
    add_settings(verb)


def add_plan(verbs: Any) -> None:
    """Add ``vrft plan``."""
    verb = add_verb(
        verbs,
        "plan",
        "say what a step takes and which card it fits, without loading any weights",
        "vrft plan --config lisa_grounding --data ReasonSeg --gpu 24GB --gpu H100 model.lora.r=64",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument("--config", metavar="NAME|FILE.yaml", help="the settings to plan for")
    verb.add_argument("--data", metavar="DIR|FILE|ID", help="the data, short for task.data_dir=...")
    add_reward(verb)
    verb.add_argument("--limit", type=positive, metavar="N", help="measure only N samples")
    verb.add_argument(
        "--picture",
        action="append",
        default=[],
        metavar="WIDTHxHEIGHT",
        help="plan without data, for a prompt with a picture of this size; may be repeated",
    )
    verb.add_argument(
        "--words",
        type=positive,
        metavar="N",
        help="plan without data, for a prompt with so many tokens of text; default: 100",
    )
    verb.add_argument(
        "--gpu",
        action="append",
        metavar="NAME|SIZE",
        help="a card, such as H100 or 24GB; may be repeated; default: 24GB, 40GB and 80GB",
    )
    verb.add_argument(
        "--devices", type=positive, default=1, metavar="N", help="devices of the run; default: 1"
    )
    verb.add_argument(
        "--zero", type=int, choices=(0, 2, 3), default=0, help="the stage of ZeRO; default: 0"
    )
    add_settings(verb)


def add_verify_resume(verbs: Any) -> None:
    """Add ``vrft verify-resume``."""
    verb = add_verb(
        verbs,
        "verify-resume",
        "train some steps in one go, and killed and resumed, and compare both bit for bit",
        "vrft verify-resume --config demo/lisa_grounding model.lora.r=8",
    )
    verb.add_argument("--task", metavar="NAME|FILE.py", help="a name of `vrft tasks`, or a file")
    verb.add_argument("--config", metavar="NAME|FILE.yaml", help="the settings of the run")
    verb.add_argument("--data", metavar="DIR|FILE|ID", help="the data, as for `vrft train`")
    add_reward(verb)
    verb.add_argument(
        "--steps", type=positive, default=4, metavar="N", help="steps of each run; default: 4"
    )
    verb.add_argument(
        "--kill-at",
        type=positive,
        default=2,
        metavar="K",
        help="the kill comes after this step's checkpoint; default: 2",
    )
    verb.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="a new folder that keeps both runs, with room for four checkpoints; default: a "
        "temporary one, kept if the runs differ",
    )
    add_settings(verb)


def add_config(verbs: Any) -> None:
    """Add ``vrft config list``, ``show`` and ``copy``."""
    config = verbs.add_parser("config", help="list, show or copy the shipped configurations")
    actions = config.add_subparsers(metavar="action", required=True)
    add_verb(actions, "list", "list the shipped configurations", "vrft config list")
    verb = add_verb(
        actions,
        "show",
        "print a configuration with every setting resolved",
        "vrft config show demo/lisa_grounding train.max_steps=20",
    )
    verb.add_argument("name", metavar="NAME|FILE.yaml")
    add_settings(verb)
    verb = add_verb(
        actions,
        "copy",
        "copy a shipped configuration, to edit it",
        "vrft config copy lisa_grounding my_run.yaml",
    )
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("to", type=Path, nargs="?", metavar="FILE", help="default: NAME.yaml here")


def add_data(verbs: Any) -> None:
    """Add ``vrft data convert``."""
    data = verbs.add_parser("data", help="convert data from any known format to another")
    actions = data.add_subparsers(metavar="action", required=True)
    verb = add_verb(
        actions,
        "convert",
        "write data in another format",
        "vrft data convert --from rows.jsonl --to swift --out swift.jsonl data.boxes=pixels",
    )
    source = {"dest": "source", "metavar": "DIR|FILE|ID"}
    verb.add_argument("--from", required=True, help="data of any known format", **source)
    verb.add_argument("--to", required=True, metavar="FORMAT", help="trl, llava, swift, coco ...")
    verb.add_argument("--out", required=True, type=Path, metavar="FILE|DIR", help="a new file")
    verb.add_argument("--split", default="train", metavar="NAME", help="default: train")
    add_settings(verb)


def add_demo(verbs: Any) -> None:
    """Add ``vrft demo``."""
    summary = "train the embedded model on the embedded data, evaluated before and after"
    demo.add_arguments(add_verb(verbs, "demo", summary, "vrft demo --seed 1 2 3"))


def positive(text: str) -> int:
    """Return a whole number above zero; ArgumentTypeError for anything else."""
    # int() would also take " 8", "8_0" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above zero, got {text!r}")
    return int(text)
