"""The trial of a chat template: programs without end are named, and no template is changed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from vrft import models
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models import processors, template_trial
from vrft.models.families import FAMILIES

NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"

MEMORY = "needs more than 1 GiB of memory"
EITHER = f"{MEMORY}|does not end"
"""Which limit is met first depends on the machine."""

SHORT = 1.0
"""Seconds for what runs for ever; what ends, or is ended by another limit, has the usual time."""


def faults(template: Any, *, has_vision: bool = False) -> str:
    try:
        template_trial.try_template(template, has_vision=has_vision)
    except template_trial.TrialError as error:
        return str(error)
    return ""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("template", "said"),
    [
        # loops in loops: of numbers, of a list, of the characters of a turn; a turn is 1,000 long
        (NESTED, "does not end within 1 seconds"),
        ("{% set r = range(99999)|list %}" + NESTED.replace("range(99999)", "r"), "does not end"),
        (
            "{% set text = messages[0].content %}{% for a in text %}{% for b in text %}"
            "{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
            "does not end",
        ),
        # text without end, in many pieces and in one; numbers; text that doubles
        (NESTED.replace("{% endfor %}", "x{% endfor %}", 1), "makes more than 1,048,576 char"),
        ("{{ 'a' * 10000000000 }}", MEMORY),
        ("{{ '%9999999999d' % 1 }}", MEMORY),
        ("{{ 10 ** (10 ** 11) }}", EITHER),
        (
            "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
            "{% endfor %}",
            EITHER,
        ),
        # a macro that calls itself; brackets deeper than the parser's stack
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
        ("{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", "calls itself without end"),
        # one of several by name; a template that is no template
        ({"default": "{{ messages }}", "tool_use": NESTED}, "does not end"),
        (" " * 2**21, "has 2,097,152 characters"),
    ],
)
def test_a_template_without_end_is_named(
    template: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "does not end" in said:
        monkeypatch.setattr(template_trial, "SECONDS", SHORT)
    assert re.search(said, faults(template))


@pytest.mark.parametrize(
    "template",
    [
        None,
        "",
        "{{ messages | tojson(indent=2) }}{{ strftime_now('%Y') }}",
        "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
        "{% generation %}{{ messages[0]['content'] }}{% endgeneration %}",
        # what is wrong with the turns of the trial is said of the data's own
        "{{ raise_exception('no system text') }}",
        "{{ messages[0].tools.nothing }}",
        "{{ 1 + 'a' }}",
        "{{ 1 // 0 }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% if %}",
        "{% break %}",
    ],
)
def test_a_template_that_ends_passes(template: Any) -> None:
    assert faults(template) == ""


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_trial_renders_what_transformers_renders(
    name: str, model_folder: Callable[[str], Path]
) -> None:
    processor = processors.load_processor(str(model_folder(name)))
    template, has_vision = processor.chat_template, FAMILIES[name].has_vision
    for messages in template_trial.conversations(has_vision=has_vision):
        ours = template_trial.environment().from_string(template)
        theirs, _ = render_jinja_template([messages], chat_template=template,
                                          add_generation_prompt=True)  # fmt: skip
        assert [ours.render(messages=messages, add_generation_prompt=True)] == theirs
        assert theirs[0].count("How many owls are there?") >= 40


def test_a_model_whose_template_never_ends_is_not_loaded(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_trial, "SECONDS", SHORT)
    for family in ("qwen2", "qwen2_vl"):
        folder = shutil.copytree(model_folder(family), tmp_path / family)
        (folder / "chat_template.jinja").write_text(NESTED + family)
        with pytest.raises(UserError, match=r"its chat template does not end .*; copy chat_") as e:
            models.load_model(ModelConfig(str(folder)), device="cpu")
        assert str(folder) in str(e.value) and "\n" not in str(e.value)


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    template_trial.try_template("{{ messages[0]['role'] }}, tried once", has_vision=True)
    monkeypatch.setattr(template_trial.subprocess, "run", None)
    template_trial.try_template("{{ messages[0]['role'] }}, tried once", has_vision=True)
