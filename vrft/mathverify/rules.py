"""The rules by which math-verify compares expressions, and the program that applies them.

sympy may compute for ever on what a model writes (9^{9^{9}} is enough), and nothing inside a
process can be relied on to stop it. So this file is run as a program, which compares one pair at a
time within limits of processor time and memory at which the system kills it. Texts travel as JSON
and are never run as code. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

# No import of vrft, math-verify or sympy above `serve`: this file is run as a program outside its
# package, and the process that asks must never load sympy.

Rule = Literal["boxed", "lighteval", "default", "options"]
"""The way in which expressions are searched for and compared; see ``equivalent``.

The rule "options" is that of ``finds_option``.
"""

FULL_STOP = re.compile(r"(?<!\.)\.$")
"""The stop of a sentence behind a result, but no ellipsis."""

MEMORY = 2 << 30
"""Bytes of address space that a worker may have."""


def serve() -> None:
    """Answer requests until the input ends: the main function of the worker.

    The lines of an answer are "readable" once the gold text is read, then "same" or "different";
    or "unreadable" alone. Behind the word stand the seconds of processor time that it took.
    """
    import signal

    out, sys.stdout = sys.stdout, sys.stderr  # prints of libraries must not pass for verdicts
    rules = load_rules()
    limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    # The default action of SIGPROF kills the process, also inside C code. A Python handler would
    # wait for the next bytecode, which may never come.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        read_gold, read_answer, same = rules[request["rule"]]
        # ITIMER_PROF counts this process's processor time, not the clock on the wall.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        started = time.process_time()
        gold = read_gold(request["gold"])
        # Said before the answer is read: a death after this line means a wrong answer.
        told = "readable" if gold else "unreadable"
        print(told, time.process_time() - started, file=out, flush=True)
        if gold:
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])
            started = time.process_time()
            verdict = same(gold, read_answer(request["answer"]))
            told = "same" if verdict else "different"
            print(told, time.process_time() - started, file=out, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory() -> None:
    """Bound the memory of this process, where the system can."""
    import resource

    with contextlib.suppress(ValueError, OSError):  # macOS refuses, and a lower limit may hold
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


Read = Callable[[Any], list[Any]]
"""A reader of expressions from a text; an empty list for none.

For the rule "options" the gold text is a list of forms, the answer a text and then the strings.
"""
Same = Callable[[list[Any], list[Any]], bool]
"""A comparison of a gold text's expressions with an answer's."""


def load_rules() -> dict[Rule, tuple[Read, Read, Same]]:
    """Return for each rule the reader of gold texts, the reader of answers, and the comparison.

    The time limits of math-verify itself are off: they are alarms, which long computations in C
    do not hear.
    """
    import logging

    from math_verify import (
        ExprExtractionConfig,
        LatexExtractionConfig,
        StringExtractionConfig,
        parse,
        verify,
    )

    logging.disable()  # math-verify logs every expression that it cannot read
    # A priority of 0 looks for boxes before anything else, the default of 50 behind other forms.
    latex, number = LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()

    def read(text: str, targets: Iterable[Any], **options: Any) -> list[Any]:
        return list(parse(text, list(targets), parsing_timeout=None, **options))

    def boxed(text: str) -> list[Any]:
        text = FULL_STOP.sub("", text.strip())
        # No fallback: the unparsed text would count as an expression, equal only to itself.
        options = {"fallback_mode": "no_fallback", "extraction_mode": "first_match"}
        return read(f"$\\boxed{{{text}}}$", [latex], **options)

    def anywhere(text: str) -> list[Any]:
        return read(text, [latex, number])

    def by_default(text: str) -> list[Any]:
        return read(text, [LatexExtractionConfig(), number])

    def options(answer: list[str]) -> list[Any]:
        text, *strings = answer
        found = StringExtractionConfig(strings=tuple(strings))
        return read(text, [LatexExtractionConfig(), number, found])

    def same(gold: list[Any], answer: list[Any], decimals: int = 6) -> bool:
        return bool(verify(gold, answer, float_rounding=decimals, timeout_seconds=None))

    def exactly_same(gold: list[Any], answer: list[Any]) -> bool:
        pairs = itertools.product(gold, answer)
        return any(same([one], [other]) and exactly_equal(one, other) for one, other in pairs)

    return {
        "boxed": (boxed, boxed, exactly_same),
        "lighteval": (boxed, anywhere, functools.partial(same, decimals=5)),
        # verify(gold, answer) is not symmetric, and the published code has them swapped.
        "default": (by_default, by_default, lambda gold, answer: same(answer, gold)),
        "options": (list, options, same),
    }


def exactly_equal(gold: Any, answer: Any) -> bool:
    """Return whether two expressions that math-verify calls equal are so to the last digit.

    Sets, pairs, intervals and matrices are compared part by part, relations by their right sides.
    Equalities that no number can decide, as of names, are left to math-verify.
    """
    from sympy import Eq
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import Boolean

    if gold == answer:
        return True
    if isinstance(gold, Relational) and isinstance(answer, Relational):
        return gold.lhs != answer.lhs or exactly_equal(gold.rhs, answer.rhs)
    # "x = 2" answers where 2 is asked for.
    gold, answer = (side.rhs if isinstance(side, Eq) else side for side in (gold, answer))
    # A relation, or several in a chain (0 < x < 1), beside the interval of what fulfils it.
    if isinstance(gold, Boolean) or isinstance(answer, Boolean):
        return True
    collections = parts_of(gold), parts_of(answer)
    if collections == (None, None):
        return not told_apart(gold, answer)
    # A value beside a set is a set of one.
    kind, parts = collections[0] or ("set", [gold])
    other_kind, other_parts = collections[1] or ("set", [answer])
    if kind != other_kind or len(parts) != len(other_parts):
        return False
    if kind == "set":
        return all(any(exactly_equal(one, other) for other in other_parts) for one in parts)
    return all(map(exactly_equal, parts, other_parts))


def parts_of(expression: Any) -> tuple[str, list[Any]] | None:
    """Return the kind of a collection and its parts; None for an expression of one value."""
    import sympy

    if isinstance(expression, sympy.FiniteSet):
        return "set", list(expression.args)
    if isinstance(expression, sympy.Tuple):
        return "tuple", list(expression.args)
    if isinstance(expression, sympy.Interval):  # (1,2) is an interval or a pair, as one likes
        return "tuple", [expression.start, expression.end]
    if isinstance(expression, sympy.MatrixBase):
        return "matrix", list(expression.flat())
    return None


def in_rationals(expression: Any) -> Any:
    """Return an expression with its decimals as fractions and its percentages multiplied out.

    A decimal is taken as it is written, not as the binary number nearest to it.
    """
    import sympy

    evaluated = expression.replace(
        lambda part: isinstance(part, sympy.UnevaluatedExpr), lambda part: part.args[0]
    )
    return evaluated.replace(lambda part: part.is_Float, lambda part: sympy.Rational(str(part)))


def told_apart(gold: Any, answer: Any) -> bool:
    """Return whether two expressions differ for sure, for one value of each of their unknowns."""
    import sympy

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    if gold.is_Symbol or answer.is_Symbol:  # \\text{A} and A are one name to math-verify
        return False
    difference = in_rationals(gold) - in_rationals(answer)
    # One value of every unknown decides: expressions that differ there are not the same.
    values = {
        unknown: sympy.Rational(sympy.prime(place), 7)
        for place, unknown in enumerate(sorted(difference.free_symbols, key=str), start=5)
    }
    difference = difference.subs(values)
    if difference.is_Rational:
        return bool(difference != 0)
    value = sympy.Abs(difference).evalf(20, maxn=400)
    # A precision of 1 means that no digit is certain: the difference may be 0.
    return bool(value.is_Float and value._prec > 1 and value != 0)


if __name__ == "__main__":
    serve()
