from pathlib import Path

import pytest
from fakes import viewed

from vrft.errors import UserError
from vrft.viewer import run
from vrft_tasks.lisa_grounding import LisaGrounding


@pytest.fixture
def view(tmp_path: Path) -> run.RunView:
    viewed.evaluations(tmp_path)
    return run.RunView(viewed.run(tmp_path / "run", tmp_path / "data"))


def test_metrics_are_columns_beside_the_steps(view: run.RunView) -> None:
    metrics = view.document("metrics")
    assert metrics["step"] == [1, 2, 3] and metrics["reward"] == [1.1, 1.2, 1.3]


def test_the_rows_of_a_step_are_one_place_of_the_columns(view: run.RunView) -> None:
    rows = ['{"step": 1, "loss": 2}', '{"step": 2, "eval_iou": 0.5}', '{"step": 2, "loss": 1}']
    (view.folder / "metrics.jsonl").write_text("\n".join([*rows, ""]), encoding="utf-8")
    told = {"step": [1, 2], "loss": [2, 1], "eval_iou": [None, 0.5]}
    assert view.document("metrics") == told


def test_warnings_stand_by_their_step(view: run.RunView) -> None:
    (warning,) = view.document("warnings")
    assert (warning["step"], warning["text"]) == (2, "rewards have not moved")
    (view.folder / "warnings.jsonl").unlink()
    assert view.document("warnings") == []


def test_a_metric_that_some_steps_lack_is_none_there() -> None:
    assert run.columns([{"step": 1}, {"step": 2, "eval_iou": 0.5}]) == {
        "step": [1, 2],
        "eval_iou": [None, 0.5],
    }


def test_a_group_has_its_prompt_true_box_picture_and_all_answers(view: run.RunView) -> None:
    ((group,), note) = (view.document("step-2")[key] for key in ("groups", "note"))
    assert note == "" and group["id"] == "a#0" and "the owl" in group["prompt"][-1]["text"]
    assert group["true"] == [[0.2, 0.2, 0.6, 0.6]]
    good, bad = group["answers"]
    assert good["advantage"] == 0.5 and good["boxes"] == [[0.2, 0.2, 0.6, 0.6]]
    assert bad["text"] == viewed.HOSTILE and bad["boxes"] == []
    (name,) = group["pictures"]
    assert list(view.pictures()) == [name] and view.picture(name).name == "a.jpg"  # type: ignore[union-attr]


def test_a_group_without_an_object_shows_the_boxes_of_its_answers(
    view: run.RunView, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = LisaGrounding.boxes
    monkeypatch.setattr(
        LisaGrounding, "boxes", lambda task, s: () if s.id == "a#0" else boxes(task, s)
    )
    (group,) = view.document("step-2")["groups"]
    assert group["true"] == [] and group["boxed"] == 0
    assert group["answers"][0]["boxes"] == [[0.2, 0.2, 0.6, 0.6]]


def test_without_its_data_a_run_still_shows_its_answers(view: run.RunView, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    document = view.document("step-1")
    assert "data" in document["note"]
    assert [len(group["answers"]) for group in document["groups"]] == [2]


def test_a_run_that_goes_on_is_read_anew(view: run.RunView) -> None:
    assert len(view.document("metrics")["step"]) == 3
    with (view.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "time": 0, "reward": 2}\n{"step": 5, "ti')  # a line half written
    assert view.document("metrics")["step"] == [1, 2, 3, 4]


def test_runs_that_differ_by_the_seed_are_one_arm(tmp_path: Path) -> None:
    viewed.evaluations(tmp_path)
    arms = [
        run.RunView(viewed.run(tmp_path / f"run{seed}", tmp_path / "data", seed)).entry["arm"]
        for seed in (1, 2)
    ]
    assert arms[0] == arms[1]


@pytest.mark.parametrize("name", ["step-9", "step-x", "steps-1", "completions", "../config"])
def test_other_names_are_no_documents(view: run.RunView, name: str) -> None:
    with pytest.raises(KeyError):
        view.document(name)


@pytest.mark.parametrize(
    "parsed",
    [
        None,
        "C",
        7,
        [0.1, 0.2, 0.3],  # no four
        [0.1, 0.2, 30.0, 40.0],  # pixels, or numbers of another meaning
        [True, False, True, True],
        ["0.1", "0.2", "0.3", "0.4"],
    ],
)
def test_what_is_no_box_is_drawn_as_none(parsed: object) -> None:
    assert run.boxes_read(parsed) == []


def test_a_log_that_is_damaged_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be read \(Expecting value"):
        run.logged_rows(tmp_path / "metrics.jsonl")


def test_a_resumption_tells_what_changed(view: run.RunView) -> None:
    assert view.document("changes") == []
    viewed.resume(view.folder, 3)
    (change,) = view.document("changes")
    assert change["step"] == 3
    rate, processes = change["lines"]
    assert rate == "train.learning_rate: 1e-06 → 2e-06" and processes.startswith("processes: 1 → 2")
    (view.folder / "config-x.yaml").write_text("of somebody else")
    assert len(view.document("changes")) == 1
    (view.folder / "config-3.yaml").write_text("trian: {}")
    with pytest.raises(UserError, match="trian"):
        view.document("changes")


def test_the_steps_of_a_run_are_listed_once_for_all_their_documents(
    view: run.RunView, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in view.documents() if name.startswith("step-")]
    assert len(names) == 3

    def listed(*_: object) -> list[int]:
        raise AssertionError("listed again")

    monkeypatch.setattr(run.RunView, "steps", listed)
    assert all(view.document(name)["groups"] for name in names)
