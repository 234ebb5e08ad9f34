"""Every checkpoint of a run in one table and one file."""

import json
from pathlib import Path

import pytest
from fakes.scripted import BETTER, Scripted, benchmark, write_reasonseg

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import checkpoints, evaluate, report


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
    table = report.text(report.checkpoint_table(reports)).splitlines()
    rows = {line.split()[1]: line for line in table if line.startswith("│")}
    assert list(rows) == list(reports)
    # (1 + 0.5 + 0 + 0) / 4 and (0.5 + 0.5 + 0 + 1) / 4; one answer cannot be read, then none
    assert " 37.5 " in rows["checkpoint-2"] and rows["checkpoint-2"].split()[-2] == "1"
    assert " 50.0 " in rows["final"] and rows["final"].split()[-2] == "0"
    summary = json.loads((out / "checkpoints.json").read_text())
    assert [row["model"] for row in summary["models"]] == list(reports)
    assert summary["models"][0]["metrics"]["iou"]["mean"] == pytest.approx(0.375)
    assert (out / "checkpoint-10" / "index.html").is_file()


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither checkpoints nor final in that folder"):
        checkpoints.run_all(tmp_path, benchmark(tmp_path), ModelConfig(), tmp_path / "out")
