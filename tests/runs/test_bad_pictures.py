"""A picture that cannot be read ends a run, or its sample is left out: named and counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.bad_pictures import write_rows
from fakes.bigram import CONFIG, Echo, run, take_step, with_train
from safetensors.torch import load_file

from vrft import config
from vrft.config.schema import DataConfig
from vrft.errors import PictureError, UserError
from vrft.rollouts.rollout_rows import Drawn
from vrft.runs import bad_pictures, run_comparison
from vrft.runs.bad_pictures import METRIC, BadPictures
from vrft.runs.run_log import BAD_PICTURES, RunLog, read_metrics
from vrft.sft import fine_tune
from vrft.training import train
from vrft.training.plan_text import plan_text
from vrft.training.run import Run
from vrft.training.stream import draw, next_prompts, sample_at
from vrft.types import Prompt, Sample

Capture = pytest.CaptureFixture[str]


# --- without a model


@dataclass(frozen=True)
class Damaged(Echo):
    """A task in which the pictures of some samples cannot be read, or a prompt cannot be made."""

    bad: tuple[str, ...] = ()
    wrong: str = ""

    def prompt(self, sample: Sample[str]) -> Prompt:
        if sample.id in self.bad:
            raise PictureError(f"{sample.id}.png: damaged picture (cut); replace the file")
        if sample.id == self.wrong:
            raise UserError("no prompt for this one")
        return super().prompt(sample)


SKIP = replace(CONFIG, data=DataConfig(on_bad_picture="skip"))


def damaged(*bad: str, settings: Any = SKIP, wrong: str = "") -> Run:
    return run(settings, Damaged(bad=bad, wrong=wrong))


def ids(drawn: list[Drawn]) -> list[str]:
    return [one.sample.id for one in drawn]


@pytest.mark.parametrize("workers", [0, 3])
def test_the_next_of_the_stream_stands_in_for_a_bad_sample(workers: int) -> None:
    plain = run(CONFIG)
    stream = [sample_at(plain, place) for place in range(12)]
    bad = {stream[1].id, stream[2].id, stream[5].id}
    made = damaged(*bad, settings=with_train(SKIP, dataloader_num_workers=workers))
    first, second = next_prompts(made), next_prompts(made)
    # 1 and 2 are bad: 3 stands in for both; 6 stands in for 5, and comes at its own place as well
    assert ids(first) == [stream[i].id for i in (0, 3, 3, 3, 4, 6)]
    assert ids(second) == [stream[i].id for i in range(6, 12)]
    # a place keeps the seed of its rollouts
    assert [one.seed for one in first] == [one.seed for one in next_prompts(plain)]
    assert made.bad_pictures.own.keys() == bad
    made.reader.close()


def test_what_stands_in_is_the_same_on_any_number_of_devices() -> None:
    class Rank:
        """An accelerator of two processes."""

        def __init__(self, index: int) -> None:
            self.process_index, self.num_processes = index, 2

    bad = ("train-3", "train-4", "train-11", "train-20")
    alone: list[Drawn] = []
    made = damaged(*bad)
    for _ in range(8):  # two epochs
        alone += next_prompts(made)
    halves: list[list[Drawn]] = []
    for index in range(2):
        rank: Any = Rank(index)
        own = replace(damaged(*bad, settings=with_train(SKIP, per_device_train_batch_size=3)),
                      accelerator=rank)  # fmt: skip
        halves.append([one for _ in range(8) for one in next_prompts(own)])
    together = [one for step in range(0, 24, 3) for half in halves for one in half[step : step + 3]]
    assert together == alone
    assert not {*bad} & {*ids(alone)} and len({*ids(alone)}) == 20


def test_a_place_means_the_same_whatever_was_drawn_before() -> None:
    made = damaged("train-3", "train-4")
    forwards = [draw(made, place) for place in range(30)]
    assert [draw(damaged("train-3", "train-4"), place) for place in range(29, -1, -1)][
        ::-1
    ] == forwards


def test_a_bad_picture_ends_a_run_by_default_and_the_line_names_everything() -> None:
    made = damaged("train-7", settings=CONFIG)
    with pytest.raises(UserError) as raised:
        for _ in range(4):
            take_step(made)
    assert str(raised.value).partition(": ")[2] == (
        "sample 'train-7': train-7.png: damaged picture (cut); replace the file; "
        "data.on_bad_picture=skip goes on without it"
    )
    assert str(raised.value).startswith("step ")


def test_only_a_picture_is_skipped() -> None:
    with pytest.raises(UserError, match=r"^step 1: no prompt for this one$"):
        for _ in range(4):
            take_step(damaged(wrong=sample_at(damaged(), 2).id))


def test_a_run_whose_pictures_are_all_bad_stops() -> None:
    made = damaged(*(f"train-{i}" for i in range(24)))
    with pytest.raises(UserError, match=r"step 1: 48 samples in a row .* the folder of pictures"):
        take_step(made)
    one_good = damaged(*(f"train-{i}" for i in range(1, 24)))
    assert ids(next_prompts(one_good)) == ["train-0"] * 6


def test_a_run_stops_after_a_hundred_in_a_row() -> None:
    def read(number: int) -> int:
        if number < 1000:
            raise PictureError(f"{number}.png: no such picture")
        return number

    with pytest.raises(UserError, match=r"^100 samples in a row .* '99': 99\.png: no such picture"):
        BadPictures(skip=True).first_readable(range(2000), str, read)
    met = BadPictures(skip=True)
    assert met.first_readable(range(901, 2000), str, read) == (1000, 1000)
    assert len(met.own) == 99


def test_the_number_of_bad_pictures_is_that_of_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"b": "b.png: gone", "a": "a.png: gone"}
    monkeypatch.setattr(bad_pictures, "gather_object", lambda own: [*own, other])
    accelerator: Any = type("Two", (), {"num_processes": 2})
    met = BadPictures(skip=True, own={"a": "a.png: gone"})
    assert met.exchange(accelerator) == {METRIC: 2.0}
    assert [*met.reasons] == ["a", "b"] and met.own == {}
    assert met.exchange(accelerator) == {METRIC: 2.0}
    assert BadPictures().exchange(accelerator) == {}  # a run that may not skip has no such column


def test_each_is_written_once_and_the_first_ten_are_printed(tmp_path: Path) -> None:
    met = BadPictures(skip=True, own={f"s{i}": f"{i}.png: \ud83d" for i in range(8)})
    met.exchange()
    assert len(met.write(tmp_path, 1)) == 8
    assert met.write(tmp_path, 2) == []
    met.own = {f"s{i}": "gone" for i in range(5, 20)}
    met.exchange()
    lines = met.write(tmp_path, 3)
    assert len(lines) == 3 and str(tmp_path / BAD_PICTURES) in lines[-1]
    rows = [json.loads(line) for line in (tmp_path / BAD_PICTURES).read_text().splitlines()]
    assert [row["sample_id"] for row in rows] == [f"s{i}" for i in range(20)]
    # A resumed run knows those of its checkpoint, and forgets the others.
    RunLog(tmp_path, resume_step=2).close()
    again = BadPictures(skip=True)
    again.restore(tmp_path, 2)
    assert [*again.reasons] == [f"s{i}" for i in range(8)]
    assert len(read_metrics(tmp_path / BAD_PICTURES)) == 8
    assert again.write(tmp_path, 3) == []


# --- with a model


def settings(model: Path, folder: Path, *more: str) -> Any:
    small = ["algorithm.num_generations=2", "sampling.max_completion_length=3",
             "train.per_device_train_batch_size=2", "train.max_steps=5", "train.save_steps=2",
             "train.learning_rate=1e-3", "train.save_total_limit=null"]  # fmt: skip
    where = ["task=counting", f"model={model}", f"train.output_dir={folder}"]
    return config.load(None, [*where, *small, *more])


def learn(made: Any, resume: Path | None = None) -> Path:
    module = fine_tune if made.algorithm.name == "sft" else train
    return module.train(made, resume=resume)  # type: ignore[attr-defined]


@pytest.mark.parametrize("algorithm", ["gpg", "sft"])
def test_a_run_skips_counts_names_and_resumes_bit_for_bit(
    algorithm: str, model_folder: Callable[[str], Path], tmp_path: Path, capsys: Capture
) -> None:
    data = write_rows(tmp_path, 6, bad={1, 4})
    more = (f"task.data_dir={data}", f"algorithm={algorithm}", "data.on_bad_picture=skip")
    made = settings(model_folder("qwen2_vl"), tmp_path / "run", *more)
    folder = learn(made)
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]
    assert len(rows) == 5 and rows[-1][METRIC] == 2
    named = {row["sample_id"]: row["reason"] for row in read_metrics(folder / BAD_PICTURES)}
    assert named.keys() == {"p1", "p4"}
    assert "p1.png: damaged picture (" in named["p1"]
    assert capsys.readouterr().err.count("is left out: ") == 2
    # killed after the first checkpoint
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    for name in ("checkpoint-4", "checkpoint-5", "final"):
        shutil.rmtree(part / name)
    resumed = replace(made, train=replace(made.train, output_dir=str(part)))
    learn(resumed, part)
    for name in ("metrics.jsonl", BAD_PICTURES):
        first, second = (
            [plain(row) for row in read_metrics(where / name)] for where in (folder, part)
        )
        assert first == second
    before, after = (load_file(at / "final" / "model.safetensors") for at in (folder, part))
    assert all(before[name].equal(after[name]) for name in before)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the log without clocks, and without what TRL counts from a start on."""
    apart = ("total_flos", "train_loss", "num_tokens")
    return {
        name: value
        for name, value in row.items()
        if name not in apart and not run_comparison.TIMES.search(name)
    }


@pytest.mark.parametrize("algorithm", ["gpg", "sft"])
def test_a_run_that_may_not_skip_ends_and_goes_on_with_the_setting(
    algorithm: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    data = write_rows(tmp_path, 6, bad={1})
    more = (f"task.data_dir={data}", f"algorithm={algorithm}", "train.save_steps=1")
    made = settings(model_folder("qwen2_vl"), tmp_path / "run", *more)
    expected = r"sample 'p1': .*p1\.png: damaged picture \(.*data\.on_bad_picture=skip"
    with pytest.raises(UserError, match=expected):
        learn(made)
    assert METRIC not in (tmp_path / "run" / "metrics.jsonl").read_text()
    learn(replace(made, data=DataConfig("skip")), tmp_path / "run")
    assert (tmp_path / "run" / "final").is_dir()


@pytest.mark.parametrize("algorithm", ["gpg", "sft"])
def test_a_dry_run_reads_the_first_picture_as_the_run_would(
    algorithm: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    data = write_rows(tmp_path, 3, bad={0})
    more = (f"task.data_dir={data}", f"algorithm={algorithm}")
    made = settings(model_folder("qwen2_vl"), tmp_path / "run", *more)
    with pytest.raises(UserError, match=r"sample 'p0': .*data\.on_bad_picture=skip"):
        plan_text(made)
    assert "tokens in the first sample" in plan_text(replace(made, data=DataConfig("skip")))


def test_the_setting_is_the_runs_and_not_the_tasks(tmp_path: Path) -> None:
    made = config.load(None, ["task=math", "data.on_bad_picture=skip", "data.format=canonical"])
    assert made.data.on_bad_picture == "skip"
    assert made.task.settings == {"data_format": "canonical"}
    (tmp_path / "a.yaml").write_text(config.to_yaml(made))
    assert config.load(str(tmp_path / "a.yaml")) == made
    with pytest.raises(UserError, match=r"data\.on_bad_picture: 'skp' is not one of error, skip"):
        config.load(None, ["data.on_bad_picture=skp"])
