"""The rules by which expressions are compared, in the worker that applies them."""

from collections.abc import Iterator

import pytest

from vrft import mathverify
from vrft.mathverify import equivalent, verdicts, worker
from vrft.mathverify.worker import Worker


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """Close the workers: none outlives this file."""
    yield
    mathverify.close()


@pytest.fixture
def only() -> Worker:
    """Return the only worker, with no verdict remembered."""
    mathverify.close()
    verdicts.forget()
    assert equivalent("1", "1") is True
    (one,) = worker.idle
    return one


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac{1}{2}", r"\dfrac12", True),
        (r"\frac{1}{2}", "0.4", False),
        ("25", "025", True),
        ("10{,}000", "10,000", True),
        ("3", "3.0001", False),
        (r"\left(3, \frac{\pi}{2}\right)", r"(3, \pi/2)", True),
        ("1,2", "2,1", True),  # solutions in any order
        ("2", "1,2", False),  # several answers are not one
        ("2", "1 or 2", False),
        ("2", r"\{1,2,3\}", False),
        ("x^2+2x+1", "(x+1)^2", True),
        ("2", "x=2", True),
        ("2", "1 < 2", False),  # a true sentence is no answer
        (r"\text{(C)}", "C", True),
        (r"90^\circ", "90", True),
        # equal to rounding, and not equal: tiny numbers, decimals, also within other forms
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", False),
        ("0.5^{60}", "0.5^{61}", False),
        (r"\frac{1}{50!}", r"\frac{1}{49!}", False),
        ("e^{-100}", "e^{-101}", False),
        (r"1.5 \times 10^{-9}", r"1.6 \times 10^{-9}", False),
        (r"\sqrt{2}", "1.41421356", False),
        (r"\frac{1}{3}", "0.333333", False),
        ("0.1234567", "0.1234568", False),
        ("10^{-20},1", "10^{-21},1", False),
        ("(1,10^{-20})", "(1,10^{-21})", False),
        ("x=10^{-20}", "x=10^{-21}", False),
        ("x>10^{-20}", "x>10^{-21}", False),
        (r"\frac{x}{10^{30}}", r"\frac{2x}{10^{30}}", False),
        (r"1+10^{-20}", "1", False),
        # equal in other words, and exactly so
        (r"\frac{1}{2^{99}}", "2^{-99}", True),
        ("0.5^{60}", r"\frac{1}{2^{60}}", True),
        ("0.1", r"\frac{1}{10}", True),
        ("(1+\\sqrt2)^2", "3+2\\sqrt2", True),
        (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2", True),
        (r"\sin^2 x+\cos^2 x", "1", True),
        ("x^{0.5}", r"\sqrt{x}", True),
        ("y=2x+1", "y-2x=1", True),
        ("1,2", "2,1.0", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1.0\\2\end{pmatrix}", True),
        # a name is a name, however it is set
        (r"\text{abc}", "abc", True),
        ("abc", r"\text{abc}", True),
        # a percentage is a share
        (r"18\%", "18", False),
        ("18", r"18\%", False),
        (r"18\%", "0.18", True),
        (r"18\%", r"\frac{9}{50}", True),
        # a pair is no set, whichever is asked for, and an interval has its ends
        ("3,4", "(3,4)", False),
        ("(3,4)", "3,4", False),
        ("1,2,3", "(1,2,3)", False),
        (r"\{3,4\}", "(3,4)", False),
        (r"\{3,4\}", "3,4", True),
        ("[3,4]", "(3,4)", False),
        ("(3,4)", "(3,4.0)", True),
        (r"\{2\}", "2", True),
        # the stop of a sentence, but not the dots of a decimal that goes on
        ("73", "73.", True),
        ("73.", "73", True),
        ("0.333", "0.333...", False),
        ("x>2", r"(2,\infty)", True),
        (r"(2,\infty)", "x>2", False),  # gold comes first: math-verify is not symmetric
        ("5", "", False),
        ("5", "???", False),
        ("5", "५", False),  # a five in Devanagari
        ("5", "\ud800", False),  # half a character, as a cut token leaves it
        ("", "5", None),
        ("???", "???", None),  # an unreadable gold answer is nobody's mistake
    ],
)
def test_the_contents_of_two_boxes(gold: str, answer: str, same: bool | None) -> None:
    assert equivalent(gold, answer) is same


@pytest.mark.parametrize(
    ("gold", "output", "same"),
    [
        ("42", r"So $6 \cdot 7 = 42$. The final answer is: $\boxed{42}$. I hope so.", True),
        ("42", r"$\boxed{42}$ ... no, the final answer is: $\boxed{41}$.", False),
        ("42", "the answer is 42", True),  # also without a box
        ("0.33333", r"$\boxed{\frac{1}{3}}$", True),  # 5 decimals
        ("0.3333", r"$\boxed{\frac{1}{3}}$", False),
        ("42", "", False),
    ],
)
def test_lighteval_searches_the_whole_output(gold: str, output: str, same: bool) -> None:
    assert equivalent(gold, output, "lighteval") is same


@pytest.mark.parametrize(
    ("gold", "output", "same"),
    [
        # A number glued to the tags is not seen, the last one of the reasoning is: both ways wrong.
        ("<answer> 145 </answer>", "It is 50</think><answer>145</answer>", False),
        ("<answer> 145 </answer>", "It is 145.</think><answer>50</answer>", True),
        ("<answer>145</answer>", "<answer> 145 </answer>", None),
        (r"$(2,\infty)$", "$x>2$", True),  # compared the wrong way round
        ("$x>2$", r"$(2,\infty)$", False),
    ],
)
def test_the_default_rule_has_the_published_faults(
    gold: str, output: str, same: bool | None
) -> None:
    assert equivalent(gold, output, "default") is same


def test_no_text_is_run_as_code(only: Worker) -> None:
    assert equivalent("1", "__import__('os').abort()") is False
    assert only.alive
