from dataclasses import replace
from pathlib import Path

import pytest
from fakes import viewed

from vrft.evaluation import results
from vrft.viewer import answers, views
from vrft_tasks.lisa_grounding import LisaGrounding


@pytest.fixture
def view(tmp_path: Path) -> answers.AnswersView:
    made = views.open_site([viewed.evaluations(tmp_path)[0]]).views["e0"]
    assert isinstance(made, answers.AnswersView)
    return made


def test_the_table_holds_every_answer_in_columns(view: answers.AnswersView) -> None:
    table = view.document("table")
    assert table["id"] == ["a", "b", "c", "d"]
    assert table["metrics"]["iou"] == [1.0, 0.5, 0.0, 0.0]
    assert [table["pictures"][k] for k in table["picture"]] == [names[0] for names in view.names]
    assert table["unreadable"] == [0, 0, 0, 1] and table["missing"] == [0, 0, 0, 0]
    assert [view.entry["subsets"][k] for k in table["subset"]] == ["class", "class", "use", "use"]


def test_an_answer_that_is_missing_was_not_cut_off(view: answers.AnswersView) -> None:
    one, two, *others = view.evaluation.scored
    one, two = (
        replace(each, prediction=replace(each.prediction, finished=False)) for each in (one, two)
    )
    scored = (one, replace(two, missing=True), *others)
    made = answers.AnswersView(replace(view.evaluation, scored=scored), "", view.folder)
    assert made.document("table")["cut"] == [1, 0, 0, 0]


def test_texts_give_prompt_truth_answer_and_boxes(view: answers.AnswersView) -> None:
    (_, half, _, unreadable) = view.document("texts-0")
    assert half["boxes"] == {"true": [[0.2, 0.2, 0.6, 0.6]], "answer": [[0.2, 0.2, 0.6, 0.4]]}
    assert "(200,200),(600,600)" in half["truth"] and "the key" in half["prompt"][-1]["text"]
    assert unreadable["parsed"] is None and unreadable["boxes"]["answer"] == []
    (name,) = half["pictures"]
    assert view.picture(name).name == "b.jpg"  # type: ignore[union-attr]


def test_boxes_stand_by_the_picture_that_they_are_in(tmp_path: Path) -> None:
    made = views.open_site([viewed.second_picture(tmp_path)]).views["e0"]
    (texts,) = made.document("texts-0")
    assert (len(texts["pictures"]), texts["boxed"]) == (2, 1)


def test_a_box_is_shown_where_there_is_no_object(
    view: answers.AnswersView, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = LisaGrounding.boxes
    monkeypatch.setattr(
        LisaGrounding, "boxes", lambda task, s: () if s.id == "b" else boxes(task, s)
    )
    shown = view.document("texts-0")[1]["boxes"]
    assert shown == {"true": [], "answer": [[0.2, 0.2, 0.6, 0.4]]}


def test_a_task_without_ideal_answers_is_shown(
    view: answers.AnswersView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(task: LisaGrounding, sample: object, views: object) -> str:
        raise NotImplementedError

    monkeypatch.setattr(LisaGrounding, "reference", none)
    assert [texts["truth"] for texts in view.document("texts-0")] == [""] * 4


def test_texts_travel_in_pieces(view: answers.AnswersView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PIECE", 3)
    assert list(view.documents()) == ["table", "texts-0", "texts-1"]
    assert [len(view.document(f"texts-{piece}")) for piece in (0, 1)] == [3, 1]
    assert answers.AnswersView(view.evaluation, "", view.folder).entry["piece"] == 3


@pytest.mark.parametrize("name", ["texts-1", "texts--1", "texts-x", "tables", "", "../secret"])
def test_other_names_are_no_documents(view: answers.AnswersView, name: str) -> None:
    with pytest.raises(KeyError):
        view.document(name)


def test_the_entry_names_report_and_settings(view: answers.AnswersView) -> None:
    entry = view.entry
    assert entry["primary"] == "iou" and entry["model"] == "old" and entry["count"] == 4
    assert entry["report"]["metrics"]["iou"]["mean"] == pytest.approx(0.375)


@pytest.mark.parametrize(
    ("settings", "model", "words"),
    [
        ({"model": {"name": "runs/x/final"}}, "runs/x/final", []),
        ({"predictions": "other.jsonl"}, "other.jsonl", []),
        ({"model": "x", "endpoint": 7}, "x", []),  # of another tool
        (
            {"model": {"name": "x"}, "endpoint": {"url": "http://h/v1", "model": "m"}, "limit": 20},
            "m (http://h/v1)",
            ["only the first 20 samples"],
        ),
        ({"endpoint": {"family": "qwen2_vl"}, "blank_images": True}, "", ["pictures blanked"]),
    ],
)
def test_who_was_asked_and_how_is_said(
    settings: dict[str, object], model: str, words: list[str]
) -> None:
    assert answers.asked_model(settings) == model and answers.asked_words(settings) == words


def test_a_long_question_is_cut_for_the_table_alone() -> None:
    assert answers.first_line("two\n lines") == "two lines"
    assert len(answers.first_line("x" * 1000)) == answers.LINE


def test_true_shapes_and_the_segmenters_masks_stand_beside_the_boxes(tmp_path: Path) -> None:
    folder = viewed.evaluations(tmp_path)[0]
    plain = answers.AnswersView(results.load_evaluation(folder), "", folder)
    square = [[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]]
    for row in plain.document("texts-0"):
        assert row["mask"] is None and row["shapes"] == {"true": [square], "ignored": []}
    code = viewed.segment(folder)
    made = answers.AnswersView(results.load_evaluation(folder), "", folder)
    # The last answer is unreadable: there is no box to make a mask of.
    assert [row["mask"] for row in made.document("texts-0")] == [code, code, code, None]
