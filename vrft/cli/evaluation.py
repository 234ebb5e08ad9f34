"""The commands of an evaluation: ``vrft eval`` and ``vrft compare``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.cli import data, endpoint, next_commands, view
from vrft.cli.evaluated_task import asks_nothing, benchmark_of, is_of_model, key_of
from vrft.cli.listing import print_listing
from vrft.errors import UserError
from vrft.system.imports import lasting

if TYPE_CHECKING:
    from vrft.config.schema import ModelConfig
    from vrft.evaluation.benchmark import Benchmark
    from vrft.types import Report


BATCH_SIZE = 8
"""Samples that a model is asked at a time, unless ``--batch-size`` says otherwise."""


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate a model or saved predictions, or list the benchmarks."""
    from vrft import config

    if args.list:
        benchmarks = {name: paths.find("benchmarks", name) for name in paths.names("benchmarks")}
        titles = {name: config.read(p).get("title", "") for name, p in benchmarks.items()}
        print_listing(titles, "title", as_json=args.json)
        return 0
    check_options(args)
    with lasting():
        from vrft.evaluation import checkpoints, evaluate, locate, report, rescoring, table_text

    if args.all_checkpoints is not None:
        args.model = str(args.all_checkpoints)
    elif args.model is not None and args.endpoint is None:
        args.model = locate.model(args.model)
    asked = endpoint.settings_of(
        args, [word for word in args.settings if endpoint.is_setting(word)]
    )
    others = [word for word in args.settings if not endpoint.is_setting(word)]
    benchmark = benchmark_of(args, others)
    if args.endpoint is not None and asked is not None:
        args.out = args.out or results_folder(args, benchmark)
        return say_result(endpoint.evaluate(args, benchmark, asked), args, args.out)
    if args.predictions is not None:
        options = scoring_options(args)
        result = rescoring.score_file(args.predictions, benchmark, endpoint=asked, **options)
        return say_result(result, args, args.out)
    model = model_of(args)
    out, options = args.out or results_folder(args, benchmark), asking_options(args)
    if args.all_checkpoints is not None:
        reports = checkpoints.run_all(args.all_checkpoints, benchmark, model, out, **options)
        if args.json:
            print((out / checkpoints.SUMMARY).read_text(encoding="utf-8"))
            return 0
        notes = next(iter(reports.values())).notes
        print(table_text.text(report.checkpoint_table(reports), notes=notes))
        print(f"table: {out / checkpoints.SUMMARY}")
        next_commands.say(["view", str(out)])
        return 0
    return say_result(evaluate.run(benchmark, model, out, **options), args, out)


def say_result(result: Report, args: argparse.Namespace, out: Path | None) -> int:
    """Print an evaluation's table, its folder and the next commands, or its report as JSON."""
    from vrft.evaluation import report, table_text

    if args.json:
        print(report.json_text(result))
        return 0
    print(table_text.text(report.table(result), notes=result.notes))
    if out is not None:
        print(f"results: {out}")
    next_commands.say(*next_commands.after_eval(args, out))
    return 0


def model_of(args: argparse.Namespace) -> ModelConfig:
    """Return the model to ask, with the settings that are below ``model``."""
    from vrft import config

    given = [word for word in args.settings if is_of_model(word)]
    model = dataclasses.replace(config.load(None, given).model, name=str(args.model))
    say_quantization(model)
    return model


def say_quantization(model: ModelConfig) -> None:
    """Say in a line if an adapter is asked on another base than its run has trained it on."""
    from vrft import config
    from vrft.evaluation import locate
    from vrft.models import is_adapter

    run = locate.run_of(model.name)
    if run is None or not any(map(is_adapter, {model.name, str(run / "final")})):
        return
    trained = config.load(str(run / "config.yaml")).model.quantization
    if trained and model.quantization != trained:
        print(
            f"note: {run} was trained on a base in {trained}, and is asked on one in full; add "
            f"model.quantization={trained} to evaluate what was trained",
            file=sys.stderr,
        )


def check_options(args: argparse.Namespace) -> None:
    """Raise UserError for options of ``vrft eval`` that are too few, or say nothing together."""
    if asks_nothing(args, args.settings):
        raise UserError("give --benchmark NAME, or --data with your own rows; `vrft eval --list` "
                        "lists the benchmarks")  # fmt: skip
    endpoint.check_options(args)
    if args.model is None and args.predictions is None and args.all_checkpoints is None:
        raise UserError("give --model DIR or ID, --all-checkpoints RUN, or --predictions FILE")
    if args.boxes is not None and args.predictions is None:
        raise UserError("--boxes says how the answers of --predictions are written; leave it out")
    if args.blank_images and args.predictions is not None:
        raise UserError("--blank-images is for a model to look at; --predictions are made already")
    if args.batch_size is not None and args.predictions is not None:
        raise UserError("--batch-size is for a model that is asked; --predictions are made already")
    check_model_settings(args)


def check_model_settings(args: argparse.Namespace) -> None:
    """Raise UserError for settings below ``model`` that no model has, and for a second name."""
    for word in args.settings:
        if args.predictions is not None and key_of(word).split(".")[0] == "model":
            raise UserError(f"{word}: is for a model that is asked; --predictions are made already")
        if key_of(word) in ("model", "model.name"):
            raise UserError(f"{word}: --model and --all-checkpoints name the model to evaluate; "
                            "leave it out")  # fmt: skip


def asking_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options with which a model is asked, as ``evaluate.run`` takes them."""
    names = ("limit", "blank_images", "fresh")
    asked = {name: getattr(args, name) for name in names}
    return asked | {"batch_size": args.batch_size or BATCH_SIZE}


def scoring_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options with which answers are scored, as ``rescoring.score_file`` takes them."""
    return {name: getattr(args, name) for name in ("limit", "out", "boxes", "fresh")}


def results_folder(args: argparse.Namespace, benchmark: Benchmark) -> Path:
    """Return the default folder of an evaluation's results: one for each kind of evaluation.

    An interrupted evaluation is found again by it, and none is taken for another.
    """
    model = Path(endpoint.name_of(args) if args.endpoint else args.model)
    parts = [benchmark.name, *model.parts]
    # These are for any data, whose results must not lie in one folder.
    of_any_data = args.benchmark is None or args.benchmark in data.TASKS
    parts += [Path(args.data).stem] if args.data and of_any_data else []
    parts += ["blank"] if args.blank_images else []
    parts += [f"first{args.limit}"] if args.limit else []
    return Path("runs", "eval", paths.folder_name(parts))


def compare(args: argparse.Namespace) -> int:
    """Compare two evaluations of the same samples, and name or show the page of their answers."""
    from vrft.evaluation import comparison, locate, report, table_text

    both = [locate.evaluation(args.before), locate.evaluation(args.after)]
    pairing = comparison.pair(*both)
    if args.json:
        print(report.json_text(pairing))
        return 0
    table = table_text.text(report.pairing_table(pairing), notes=[pairing.note])
    print("\n".join([table, *report.change_lines(pairing)]))
    if not args.export and not args.open:
        next_commands.say(["view", *map(str, both)])
        return 0
    from vrft.viewer import views

    site = views.open_site(both)
    if args.export:
        view.write_page(site, args.export)
    else:
        view.serve_page(site, 0, in_browser=True)
    return 0
