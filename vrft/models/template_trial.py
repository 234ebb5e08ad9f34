"""A trial of a model's chat template in a process of its own, before it is used in this one.

A chat template is a program that comes with the model. The sandbox in which transformers runs it
forbids it to leave, and neither loops in loops nor text that doubles: one line of it may compute
for ever or fill the memory, while no thread of Python can be stopped. The trial can: it renders a
long conversation within a time and a memory, once for a template in each process.

The program is this file, of jinja2 and the standard library alone, so that it starts in 0.1 s. Its
environment is that of transformers' templates.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.parser
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 20.0
"""Time for the worker to start and to render; a published template takes milliseconds."""

MEMORY = 2**30
"""Bytes of address space of the worker, which itself takes a tenth of it."""

TOO_LARGE = f"needs more than {MEMORY / 2**30:g} GiB of memory"

LARGEST = 2**20
"""Characters of a template, and of what it may make of the trial's conversation of 16,000."""

TEXT = "How many owls are there? " * 40
"""A turn of the trial, of 1,000 characters: a template may look at each of them."""

FAULTS = (jinja2.TemplateError, SyntaxError, TypeError, ValueError, LookupError, ArithmeticError,
          AttributeError)  # fmt: skip
"""What a template raises that is wrong, or that refuses the turns."""

PARTS = [{"type": "image"}, {"type": "text", "text": TEXT}]


class TrialError(Exception):
    """A chat template that cannot be used; the message says why in a few words."""


def try_template(template: Any, *, has_vision: bool) -> None:
    """Render a chat template, or each of several named ones; raise TrialError for one without end.

    Contents of turns are lists of pictures and texts with ``has_vision``, else strings. A template
    that refuses the trial's turns passes, as it may take the data's.
    """
    for text in template.values() if isinstance(template, Mapping) else [template or ""]:
        _try_text(text, has_vision)


@functools.cache
def _try_text(template: str, has_vision: bool) -> None:
    """Render one chat template in a worker; raise TrialError as ``try_template`` does."""
    if len(template) > LARGEST:
        raise TrialError(f"has {len(template):,} characters")
    message = json.dumps([template, conversations(has_vision=has_vision)])
    command = [sys.executable, "-P", "-W", "ignore", __file__]
    try:
        worker = subprocess.run(command, input=message.encode(), capture_output=True,
                                timeout=SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"does not end within {SECONDS:g} seconds") from error
    if worker.returncode < 0 or b"MemoryError" in worker.stderr:  # none was left to say so
        raise TrialError(TOO_LARGE)
    if worker.returncode:
        raise RuntimeError(worker.stderr.decode(errors="replace"))
    if said := json.loads(worker.stdout):
        raise TrialError(said)


def conversations(*, has_vision: bool) -> list[list[dict[str, Any]]]:
    """Return the trial's messages: a question alone, and a conversation of sixteen turns."""
    content: Any = PARTS if has_vision else TEXT
    question, answer = {"role": "user", "content": content}, {"role": "assistant", "content": TEXT}
    system = {"role": "system", "content": TEXT}
    return [[question], [system, *[question, answer] * 7, question]]


# --- the worker


class Generation(Extension):
    """The tag with which a template marks the model's own turns, which are written as they are."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """Return the nodes between the tag and its end."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment in which transformers renders templates, with its functions."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = lambda value, **settings: json.dumps(value, **settings)
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = lambda form: form
    return made


def _refuse(message: str) -> None:
    """Raise the error by which a template says that it takes no such turns."""
    raise jinja2.TemplateError(message)


def fault(template: str, trial: list[list[dict[str, Any]]]) -> str:
    """Return in a few words why a template cannot be used; "" for one that can."""
    try:
        rendered = environment().from_string(template)
        for messages in trial:
            length = 0
            pieces = rendered.generate(
                messages=messages, add_generation_prompt=True, bos_token="", eos_token=""
            )
            for piece in pieces:
                length += len(piece)
                if length > LARGEST:
                    return f"makes more than {LARGEST:,} characters of 16,000"
    except MemoryError:
        return TOO_LARGE
    except RecursionError:
        return "calls itself without end"
    except FAULTS:
        return ""  # said in full, with the data's own turns, when a prompt is rendered
    return ""


def serve() -> None:
    """Read [template, conversations] as JSON from standard input; write the fault, or ""."""
    import resource  # not on every system on which this module is imported

    template, trial = json.load(sys.stdin)
    if sys.platform == "linux":  # others refuse the limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds = int(SECONDS) + 1  # should this process outlive the one that started it
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    sys.stdout.write(json.dumps(fault(template, trial)))


if __name__ == "__main__":
    serve()
