from pathlib import Path

import pytest
from fakes import scripted, viewed

from vrft.config.schema import ModelConfig
from vrft.evaluation import evaluate
from vrft.viewer import comparison, views


@pytest.fixture
def compared(tmp_path: Path) -> comparison.ComparisonView:
    site = views.open_site([*viewed.evaluations(tmp_path)])
    view = site.views["c0-1"]
    assert isinstance(view, comparison.ComparisonView)
    return view


def test_a_comparison_names_both_evaluations_and_their_metrics(
    compared: comparison.ComparisonView,
) -> None:
    entry = compared.entry
    assert (entry["kind"], entry["before"], entry["after"]) == ("comparison", "e0", "e1")
    assert (entry["title"], entry["primary"], entry["note"]) == ("before → after", "iou", "")
    assert entry["metrics"][0] == "iou"


def test_tables_of_the_same_order_need_no_pairs(compared: comparison.ComparisonView) -> None:
    assert compared.pairs == [(place, place) for place in range(4)]
    assert list(compared.documents()) == ["pairs"] and compared.document("pairs") is None


@pytest.mark.parametrize("name", ["table", "pairs/0", ""])
def test_other_names_are_no_documents(compared: comparison.ComparisonView, name: str) -> None:
    with pytest.raises(KeyError):
        compared.document(name)
    with pytest.raises(KeyError):
        compared.picture(name)
    assert list(compared.pictures()) == []


def test_evaluations_of_other_limits_are_compared_on_the_answers_that_both_have(
    tmp_path: Path,
) -> None:
    four = scripted.benchmark(scripted.write_reasonseg(tmp_path / "data"))
    for name, limit in (("four", None), ("two", 2)):
        model, policy = ModelConfig(name=name), scripted.Scripted()
        evaluate.run(four, model, tmp_path / name, policy=policy, limit=limit)
    view = views.open_site([tmp_path / "four", tmp_path / "two"]).views["c0-1"]
    assert view.document("pairs") == [(0, 0), (1, 1)]
    assert view.entry["note"] == "on the 2 answers that both have, of 4 and 2"


def test_missing_answers_are_told(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    file = after / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    note = views.open_site([before, after]).views["c0-1"].entry["note"]
    assert note == "after lacks answers to 3 samples, which count as wrong"


def test_evaluations_with_nothing_in_common_are_not_compared(tmp_path: Path) -> None:
    before, _ = viewed.evaluations(tmp_path)
    old = views.open_site([before]).views["e0"]
    assert isinstance(old, views.AnswersView)
    other = views.AnswersView(old.evaluation, "other", before)
    other.answered = [("a#0", 0, "another question")]
    assert comparison.comparisons({"e0": old, "e1": other}) == {}
