"""Every answer has every metric: what is refused, and whose answer it names."""

from types import SimpleNamespace
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.rewards.metric_names import check_primary, check_same
from vrft.types import Sample, Score

SAMPLE = Sample("a", "?", 1)
TASK: Any = SimpleNamespace(primary="right")
FULL = Score({"right": 1.0, "more": 0.5}, "7", {"share": (1.0, 2.0)})


def test_a_score_without_the_primary_metric_is_refused() -> None:
    check_primary(TASK, SAMPLE, FULL)
    for metrics, there in (({}, "none"), ({"more": 1.0}, "more")):
        with pytest.raises(UserError, match=f"'a': no metric 'right', .*; there is {there}$"):
            check_primary(TASK, SAMPLE, Score(metrics, None))


def test_a_score_without_a_metric_or_ratio_of_another_is_refused() -> None:
    check_same(SAMPLE, FULL, FULL, "sample 'b'")
    check_same(SAMPLE, FULL, Score({"right": 0.0}, None), "sample 'b'")  # it has one more
    with pytest.raises(UserError, match="sample 'a': no metric 'more', which sample 'b' has; give"):
        check_same(SAMPLE, Score({"right": 0.0}, None), FULL, "sample 'b'")
    with pytest.raises(UserError, match="sample 'a': no ratio 'share', which its gold answer has"):
        check_same(SAMPLE, Score(FULL.metrics, None), FULL, "its gold answer")
