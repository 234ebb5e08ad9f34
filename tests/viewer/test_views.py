import json
from pathlib import Path

import pytest
from fakes import viewed

from vrft.errors import UserError
from vrft.viewer import views


def test_a_run_brings_its_own_evaluations_along(tmp_path: Path) -> None:
    before, _ = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(folder / "eval")
    site = views.open_site([folder])
    assert [(id, view.entry["kind"]) for id, view in site.views.items()] == [
        ("r0", "run"),
        ("e0", "answers"),
    ]


def test_a_run_brings_its_evaluations_in_runs_eval_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before, after = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    Path("runs/eval").mkdir(parents=True)
    for number, path in enumerate((before, after)):
        settings = json.loads((path / "settings.json").read_text())
        settings["model"]["name"] = str(tmp_path / ("run/final" if number else "base"))
        (path / "settings.json").write_text(json.dumps(settings))
        path.rename(Path("runs/eval", path.name))
    # A folder that was never finished is of no run that is known.
    Path("runs/eval/broken").mkdir()
    Path("runs/eval/broken/predictions.jsonl").write_text("")
    site = views.open_site([folder])
    assert [view.entry["title"] for view in site.views.values()] == ["run", "after"]


def test_two_evaluations_alone_are_opened_at_their_comparison(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    site = views.open_site([before, after / "predictions.jsonl"])
    assert list(site.views) == ["e0", "e1", "c0-1"] and site.start == "c0-1"
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    assert views.open_site([before, after, run]).start == ""


def test_one_evaluation_is_compared_with_nothing(tmp_path: Path) -> None:
    before, _ = viewed.evaluations(tmp_path)
    site = views.open_site([before, before / "predictions.jsonl"])
    assert list(site.views) == ["e0"] and site.start == ""


def test_a_folder_of_evaluations_brings_all_of_them(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path / "all")
    for name, path in (("checkpoint-1", before), ("checkpoint-2", after)):
        path.rename(tmp_path / "all" / name)
    site = views.open_site([tmp_path / "all"])
    assert [view.entry["title"] for view in site.views.values()] == [
        *("checkpoint-1", "checkpoint-2"),
        "checkpoint-1 → checkpoint-2",
    ]


def test_an_evaluation_of_a_run_that_cannot_be_read_is_shown_with_its_line(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(folder / "eval-old")
    after.rename(folder / "eval-new")
    (folder / "eval-old" / "settings.json").write_text("{")
    site = views.open_site([folder])
    kinds = [view.entry["kind"] for view in site.views.values()]
    assert sorted(kinds) == ["answers", "run", "unreadable"]
    (broken,) = [v for v in site.views.values() if isinstance(v, views.UnreadableView)]
    assert broken.entry["problem"].endswith("settings.json: not JSON; delete the folder and "
                                            "evaluate again")  # fmt: skip
    assert list(broken.documents()) == list(broken.pictures()) == []
    with pytest.raises(UserError, match="not JSON"):  # it was named itself
        views.open_site([folder, folder / "eval-old"])


def test_a_folder_without_any_readable_evaluation_is_refused(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path / "all")
    for path in (before, after):
        (path / "settings.json").unlink()
    with pytest.raises(UserError, match=r"settings\.json: not found"):
        views.open_site([tmp_path / "all"])


def test_a_run_whose_settings_cannot_be_read_is_refused_before_it_is_served(tmp_path: Path) -> None:
    viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    (folder / "config.yaml").write_text("trian: {}")
    with pytest.raises(UserError, match="trian"):
        views.open_site([folder])


def test_runs_of_one_name_are_told_apart_and_shown_once(tmp_path: Path) -> None:
    viewed.evaluations(tmp_path)
    runs = [viewed.run(tmp_path / arm / "seed-1", tmp_path / "data") for arm in ("gpg", "grpo")]
    site = views.open_site([*runs, tmp_path / "gpg" / ".." / "gpg" / "seed-1"])
    titles = [view.entry["title"] for view in site.views.values()]
    assert titles == ["gpg/seed-1", "grpo/seed-1"] and site.title == "gpg/seed-1 · grpo/seed-1"


@pytest.mark.parametrize(
    ("paths", "titles"),
    [
        (["/a/before", "/a/after"], ["before", "after"]),
        (["/a/before/x", "/a/after/x", "/a/y"], ["before/x", "after/x", "y"]),
        (["/a/x/z", "/b/x/z", "/b/y/z"], ["a/x/z", "b/x/z", "y/z"]),
    ],
)
def test_titles_are_the_ends_by_which_paths_differ(paths: list[str], titles: list[str]) -> None:
    assert views.distinct([Path(path) for path in paths]) == titles


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        views.open_site([tmp_path / "none"])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation"):
        views.open_site([tmp_path])


def test_a_folder_of_runs_brings_all_of_them_with_their_evaluations(tmp_path: Path) -> None:
    before, after = viewed.evaluations(tmp_path)
    runs = tmp_path / "runs"
    for name in ("one", "two", "broken", "arms/three"):
        viewed.run(runs / name, tmp_path / "data")
    (runs / "broken" / "config.yaml").write_text("trian: {}")
    before.rename(runs / "before")
    (runs / "one" / "eval").mkdir()
    after.rename(runs / "one" / "eval" / "after")
    site = views.open_site([runs])
    shown = {view.entry["title"]: view.entry["kind"] for view in site.views.values()}
    assert shown == {
        "one": "run", "two": "run", "three": "run", "broken": "unreadable", "before": "answers",
        "after": "answers", "before → after": "comparison",
    }  # fmt: skip
    assert "trian" in next(
        view.problem for view in site.views.values() if isinstance(view, views.UnreadableView)
    )
    with pytest.raises(UserError, match="trian"):  # it was named itself
        views.open_site([runs, runs / "broken"])
    # Runs alone need no evaluation.
    assert [*views.open_site([runs / "arms"]).views] == ["r0"]


def test_a_run_that_has_not_logged_a_step_is_shown(tmp_path: Path) -> None:
    viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    for file in (folder / "metrics.jsonl", *(folder / "completions").iterdir()):
        file.unlink()
    (folder / "config-1.yaml").write_bytes((folder / "config.yaml").read_bytes())
    site = views.open_site([folder], live=True)
    assert site.views["r0"].document("metrics") == {} and site.views["r0"].document("steps") == []


def test_a_folder_of_no_run_is_not_advised_to_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation and no run in it; name the folder of one"):
        views.open_site([tmp_path])
    (tmp_path / "config.json").write_text("{}")  # a model
    with pytest.raises(UserError, match="make one with `vrft eval --model"):
        views.open_site([tmp_path])
