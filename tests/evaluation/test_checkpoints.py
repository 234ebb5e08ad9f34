"""Every checkpoint of a run in one table and one file."""

import json
from pathlib import Path

import pytest
from fakes.scripted import BETTER, Scripted, benchmark, write_reasonseg

from vrft import cli
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import checkpoints, evaluate, report, table_text
from vrft.system import folder_lock


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run with the models of steps 2 and 10 and of the end."""
    for name in ("checkpoint-10", "checkpoint-2", "final"):
        folder = tmp_path / "run" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "trainer_state.json").write_text("{}")
    return tmp_path / "run"


def test_every_checkpoint_is_evaluated_once_and_stands_in_one_table_and_one_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(model: ModelConfig) -> Scripted:
        loaded.append(Path(model.name).name)
        return Scripted() if model.name.endswith("checkpoint-2") else Scripted(BETTER)

    monkeypatch.setattr(evaluate, "load_policy", load)
    four, out = benchmark(write_reasonseg(tmp_path / "data")), tmp_path / "out"
    for _ in range(2):  # the second time nothing is asked again
        reports = checkpoints.run_all(run, four, ModelConfig(), out, batch_size=2)
        assert list(reports) == loaded == ["checkpoint-2", "checkpoint-10", "final"]
    table = table_text.text(report.checkpoint_table(reports)).splitlines()
    rows = {line.split()[1]: line for line in table if line.startswith("│")}
    assert list(rows) == list(reports)
    # (1 + 0.5 + 0 + 0) / 4 and (0.5 + 0.5 + 0 + 1) / 4; one answer cannot be read, then none
    assert " 37.5 " in rows["checkpoint-2"] and rows["checkpoint-2"].split()[-2] == "1"
    assert " 50.0 " in rows["final"] and rows["final"].split()[-2] == "0"
    summary = json.loads((out / "checkpoints.json").read_text())
    assert [row["model"] for row in summary["models"]] == list(reports)
    assert summary["models"][0]["metrics"]["iou"]["mean"] == pytest.approx(0.375)
    assert (out / "checkpoint-10" / "scores.json").is_file()


def test_a_table_that_another_process_is_making_is_refused(run: Path, tmp_path: Path) -> None:
    four = benchmark(write_reasonseg(tmp_path / "data"))
    with (
        folder_lock.held(tmp_path / "out", "an evaluation"),
        pytest.raises(UserError, match="out: an evaluation writes there at this moment"),
    ):
        checkpoints.run_all(run, four, ModelConfig(), tmp_path / "out", batch_size=2)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither checkpoints nor final in that folder"):
        checkpoints.run_all(tmp_path, benchmark(tmp_path), ModelConfig(), tmp_path / "out")


def test_the_commands_work_together_on_a_run_and_on_answers_of_another_tool(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "load_policy", lambda model: Scripted(BETTER))
    write_reasonseg(tmp_path / "data")
    Path("four.yaml").write_text("task: lisa_grounding\ntitle: Four\n")
    asked = ["eval", "--benchmark", "four.yaml", "--data", "data"]

    assert cli.main([*asked, "--all-checkpoints", "run"]) == 0
    out, err = capsys.readouterr()
    assert "checkpoint-10" in out
    assert "table: runs/eval/four-run/checkpoints.json\nnext:\n  vrft view runs/eval/four-r" in out
    assert cli.main([*asked, "--all-checkpoints", "run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["model"] for row in rows] == ["checkpoint-2", "checkpoint-10", "final"]
    assert cli.main([*asked, "--model", "run"]) == 0
    out, err = capsys.readouterr()
    assert "model: run/final" in err
    assert "results: runs/eval/four-run-final\nnext:\n  vrft view runs/eval/four-run-final\n" in out

    lines = [
        json.dumps({"id": id, "text": "<answer>(0.2,0.2),(0.6,0.6)</answer>"}) for id in "abcd"
    ]
    Path("theirs.jsonl").write_text("\n".join(lines))
    scored = [*asked, "--predictions", "theirs.jsonl", "--out", "theirs"]
    assert cli.main(scored) == 2
    assert "the answer to 'a' does not say how its boxes are written" in capsys.readouterr().err
    assert cli.main([*scored, "--boxes", "fractions"]) == 0
    assert " 100.0 " in capsys.readouterr().out
    assert cli.main(["compare", "run", "theirs"]) == 0
    out, err = capsys.readouterr()
    assert "iou of 4 samples: 3 better, 0 worse" in out
    assert "next:\n  vrft view runs/eval/four-run-final theirs\n" in out

    assert cli.main([*asked, "--model", "run", "--boxes", "pixels"]) == 2
    assert "--boxes says how the answers of --predictions are" in capsys.readouterr().err
    small = [*asked, "--model", "run", "--out", "runs/eval/four-run-final", "--limit", "2"]
    assert cli.main(small) == 2
    assert "with limit: None, not 2; choose another folder, or begin" in capsys.readouterr().err
    assert cli.main([*small, "--fresh"]) == 0
    assert cli.main(["compare", "run", "theirs"]) == 0
    out, _ = capsys.readouterr()
    assert "compared on the 2 samples that both have, of 2 and 4" in out.splitlines()
