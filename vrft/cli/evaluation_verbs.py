"""The commands that evaluate and look at answers, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vrft import paths
from vrft.cli import export, view
from vrft.cli.options import Parser, add_json, add_processor, add_settings, add_verb, positive


def add_eval(verbs: Any) -> None:
    """Add ``vrft eval``."""
    verb = add_verb(
        verbs,
        "eval",
        "evaluate a model, or saved answers, on a benchmark",
        "vrft eval --benchmark lisa_val --data ReasonSeg --model runs/my_run",
    )
    verb.add_argument(
        "--benchmark", type=paths.at_home, metavar="NAME|FILE.yaml", help="what to evaluate on"
    )
    verb.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    add_answers(verb)
    verb.add_argument(
        "--data",
        type=paths.at_home,
        metavar="DIR|FILE|ID",
        help="where the benchmark's data lies; without --benchmark, data of the task of the "
        "model's run, or rows of any known format",
    )
    verb.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the results go; default: runs/eval/BENCHMARK-MODEL, and with --predictions "
        "nowhere",
    )
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
    add_json(verb)
    add_settings(
        verb,
        "settings that override the benchmark's, such as sampling.temperature=0.7, and those of "
        "the model, such as model.dtype=float32",
    )


def add_answers(verb: Parser) -> None:
    """Add the options of ``vrft eval`` that say whose answers are evaluated."""
    # None is required by argparse, as `--list` needs none: `evaluation.check_options` asks for one.
    source = verb.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        type=paths.at_home,
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


def add_prompts(verbs: Any) -> None:
    """Add ``vrft prompts``."""
    verb = add_verb(
        verbs,
        "prompts",
        "write the requests of a benchmark for a batch service",
        "vrft prompts --data rows.jsonl --model NAME --out requests.jsonl \\\n"
        "    endpoint.family=qwen2_5_vl",
    )
    verb.add_argument(
        "--benchmark", type=paths.at_home, metavar="NAME|FILE.yaml", help="what to ask"
    )
    verb.add_argument(
        "--data",
        type=paths.at_home,
        metavar="DIR|FILE|ID",
        help="where the benchmark's data lies",
    )
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
    add_settings(
        verb,
        "settings that override the benchmark's, such as sampling.temperature=0.7, and those of "
        "the endpoint, such as endpoint.family=qwen2_5_vl",
    )


def add_compare(verbs: Any) -> None:
    """Add ``vrft compare``."""
    verb = add_verb(
        verbs,
        "compare",
        "compare two evaluations sample by sample",
        "vrft compare runs/eval/lisa_val-base runs/my_run/eval",
    )
    for name in ("before", "after"):
        verb.add_argument(
            name, type=Path, metavar=name.upper(), help="the folder of an evaluation, or a run"
        )
    shown = verb.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the result as JSON")
    shown.add_argument("--export", type=Path, metavar="DIR", help="write a page of the answers")
    shown.add_argument("--open", action="store_true", help="open that page in the browser")


def add_view(verbs: Any) -> None:
    """Add ``vrft view``."""
    verb = add_verb(
        verbs,
        "view",
        "look at runs, rollouts, answers and comparisons in the browser",
        "vrft view runs/my_run runs/eval/lisa_val-base",
    )
    view.add_arguments(verb)


def add_export(verbs: Any) -> None:
    """Add ``vrft export``."""
    verb = add_verb(
        verbs,
        "export",
        "write a trained model as a plain folder with its card",
        "vrft export runs/my_run --to owl-finder --merge",
    )
    export.add_arguments(verb)


ADDED = (add_eval, add_compare, add_view, add_prompts, add_export)
"""The functions that add them."""
