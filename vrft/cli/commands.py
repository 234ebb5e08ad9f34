"""The commands by their names, run one at a time, with an exit status.

Exit status: 0 done, 1 a check that did not pass, 2 a mistake of the user's (one line on standard
error), 130 interrupted, 141 cut off by a closed pipe. Bugs keep their traceback.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from vrft.cli import (
    arguments,
    completion,
    data,
    evaluation,
    export,
    listing,
    plan,
    prompts,
    training,
    verify_resume,
    view,
)
from vrft.errors import UserError
from vrft.runs import console, memory_errors
from vrft.system import disk_errors, python_files

QUIET = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE")
"""Variables by which the hub, datasets, transformers and TRL draw no bars beside ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if argv is None:  # a process of its own, which may tell libraries how to behave
        for name in QUIET:
            os.environ.setdefault(name, "1")
        print_any_letter()
    python_files.forget_changed()
    try:
        args = arguments.parse(sys.argv[1:] if argv is None else argv)
        with console.warnings_in_words(), console.logs_on_error():
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
    except (MemoryError, OSError, RuntimeError) as error:
        line = (
            disk_errors.line(error) if isinstance(error, OSError) else memory_errors.line_of(error)
        )
        if not line:
            raise
        print("vrft: error:", line, file=sys.stderr)
        discard_unwritable_output()
        return 2


def print_any_letter() -> None:
    """Let letters that the output's encoding cannot hold be printed as escapes.

    A name of a file may be no text of any encoding, and a terminal's may lack an arrow.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def discard_unwritable_output() -> None:
    """Let what is left of the printed output go to nowhere if its disk is full.

    Python would else try to write it at its exit, and complain.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def demo(args: argparse.Namespace) -> int:
    """Train and evaluate the embedded model; status 1 if it did not learn to look."""
    from vrft.cli import demo

    return demo.run(args, main)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "train": training.train,
    "eval": evaluation.evaluate,
    "prompts": prompts.prompts,
    "compare": evaluation.compare,
    "view": view.view,
    "export": export.export,
    "tasks": listing.tasks,
    "algorithms": listing.algorithms,
    "check": training.check,
    "plan": plan.plan,
    "verify-resume": verify_resume.verify_resume,
    "config list": listing.config_list,
    "config show": listing.config_show,
    "config copy": listing.config_copy,
    "config schema": listing.config_schema,
    "completion": completion.completion,
    "data convert": data.convert,
    "data filter": data.filter_rows,
    "demo": demo,
    "env": listing.env,
}
"""The function of each command, by the name that ``arguments`` gives it."""
