import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.scripted import ANSWERS, Scripted, benchmark, write_reasonseg
from PIL import Image

from vrft import cli, registry
from vrft.boxes import Box
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import (
    evaluate,
    predictions,
    questions,
    report,
    results,
    segmentation,
    settings_file,
    table_text,
)
from vrft.evaluation.benchmark import GREEDY
from vrft.images import open_image
from vrft.masks import Mask
from vrft.system import folder_lock
from vrft.task import Task
from vrft.types import Prompt, Sample
from vrft_tasks.lisa_grounding import LisaGrounding, Target

MODEL = ModelConfig(name="scripted")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_reasonseg(tmp_path / "data")


@pytest.fixture
def task(data: Path) -> Task[Any]:
    return registry.build(benchmark(data).task)


@pytest.fixture
def prompts(task: Task[Any]) -> dict[str, Prompt]:
    """Return the prompts of the four samples, by sample id."""
    return {sample.id: task.prompt(sample) for sample in task.samples("test")}


def ids(out: Path) -> list[str]:
    return [line.sample_id for line in predictions.read_predictions(out / "predictions.jsonl")]


def test_an_evaluation_leaves_predictions_scores_and_settings(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    assert report.metrics["iou"].mean == pytest.approx(0.375)
    assert ids(out) == ["a", "b", "c", "d"]
    scores = json.loads((out / "scores.json").read_text())
    assert scores["metrics"]["iou"]["mean"] == pytest.approx(0.375)
    assert (scores["n"], scores["unreadable"]) == (4, 1)
    assert json.loads((out / "settings.json").read_text())["model"]["name"] == "scripted"
    names = ["predictions.jsonl", "scores.json", "settings.json"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_an_interrupted_evaluation_goes_on_and_asks_every_sample_once(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    broken = Scripted(patience=3)
    with pytest.raises(ConnectionError):
        evaluate.run(benchmark(data), MODEL, out, policy=broken, batch_size=1)
    with (out / "predictions.jsonl").open("a") as file:
        file.write('{"id": "d", "text": "cut o')  # as a kill leaves it
    rest = Scripted()
    report = evaluate.run(benchmark(data), MODEL, out, policy=rest, batch_size=1)
    assert (broken.asked, rest.asked) == (["the owl", "the key", "what flies"], ["what rings"])
    assert ids(out) == ["a", "b", "c", "d"]
    assert report.metrics["iou"].mean == pytest.approx(0.375)


MANY = """
'''Twenty questions.'''

from dataclasses import dataclass
from PIL import Image
from vrft import Prompt, Sample, Score, Task


@dataclass(frozen=True)
class Many(Task[int]):
    primary = "right"
    data = "no data"

    def samples(self, split):
        image = Image.new("RGB", (56, 56), "red")
        return [Sample(str(n), f"What is {n} + 1?", n + 1, (image,)) for n in range(20)]

    def prompt(self, sample):
        return Prompt(sample.question, sample.images)

    def reference(self, sample, views):
        return str(sample.answer)

    def rewards(self):
        return {}

    def score(self, sample, completion):
        return Score({"right": float(len(completion.text) % 2)}, completion.text or None)
"""


HANGING = """
import sys, time
from itertools import count
from vrft import cli
from vrft.policy.policy import ModelPolicy

plain, batches = ModelPolicy.sample, count()

def sample(policy, *arguments):
    if next(batches) == 5:
        time.sleep(600)
    return plain(policy, *arguments)

ModelPolicy.sample = sample
sys.exit(cli.main(sys.argv[1:]))
"""
"""A command whose model does not answer the sixth batch of questions: time to kill it."""


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_scores_every_sample_exactly_once(
    tmp_path: Path, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twenty_questions.py").write_text(MANY)
    settings = "temperature: 1.0, max_completion_length: 16"
    task = tmp_path / "twenty_questions.py"
    (tmp_path / "twenty.yaml").write_text(f"task: {task}\nsampling: {{{settings}}}\n")
    command = ["eval", "--benchmark", str(tmp_path / "twenty.yaml"), "--batch-size", "2"]
    command += ["--model", str(model_folder("qwen2_vl")), "model.dtype=float32", "--out"]
    out, whole = tmp_path / "killed", tmp_path / "whole"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = [sys.executable, "-c", HANGING, *command, str(out)]
    with subprocess.Popen(killed, stderr=subprocess.PIPE, env=environment) as process:
        while process.poll() is None and answered(out) < 3:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = (out / "predictions.jsonl").read_bytes()
    assert 3 <= answered(out) < 20
    assert not (out / "scores.json").exists()

    monkeypatch.setattr(sys, "path", [*sys.path])
    assert cli.main([*command, str(out)]) == 0
    assert cli.main([*command, str(whole)]) == 0
    after = (out / "predictions.jsonl").read_bytes()
    # every complete line that the kill has left
    assert after.startswith(before[: before.rfind(b"\n") + 1])
    assert ids(out) == [str(number) for number in range(20)]
    assert after == (whole / "predictions.jsonl").read_bytes()
    scores = [json.loads((folder / "scores.json").read_text()) for folder in (out, whole)]
    assert scores[0]["n"] == 20
    assert scores[0]["metrics"] == scores[1]["metrics"]


def answered(out: Path) -> int:
    """Count the answers that an evaluation has written."""
    path = out / "predictions.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_finished_evaluation_needs_no_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate.run(benchmark(data), MODEL, tmp_path / "out", policy=Scripted())

    def load(model: ModelConfig) -> Scripted:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(evaluate, "load_policy", load)
    assert evaluate.run(benchmark(data), MODEL, tmp_path / "out") == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelConfig(name="other")}, r"model\.name: scripted, not other"),
        ({"limit": 2}, "limit: None, not 2"),
        ({"blank_images": True}, "blank_images: False, not True"),
        ({"sampling": SamplingConfig(temperature=0.5)}, r"sampling\.temperature: 0\.0, not 0\.5"),
    ],
)
def test_a_folder_of_other_settings_is_refused(
    change: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    sampling = {"sampling": change.pop("sampling")} if "sampling" in change else {}
    model = change.pop("model", MODEL)
    with pytest.raises(UserError, match=message):
        evaluate.run(benchmark(data, **sampling), model, out, policy=Scripted(), **change)


def test_answers_of_a_model_that_was_trained_again_are_not_taken_for_its_own(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"first")
    model = ModelConfig(name=str(folder))
    evaluate.run(benchmark(data), model, tmp_path / "out", policy=Scripted())
    weights.write_bytes(b"again")
    os.utime(weights, ns=(1, 1))
    with pytest.raises(UserError, match=r"weights\.model\.safetensors"):
        evaluate.run(benchmark(data), model, tmp_path / "out", policy=Scripted())


def record(data: Path, name: str) -> dict[str, Any]:
    """Return the json of a picture."""
    tree: dict[str, Any] = json.loads((data / "test" / f"{name}.json").read_text())
    return tree


def change_question(data: Path) -> None:
    changed = json.dumps(record(data, "b") | {"text": ["the lamp"]})
    (data / "test" / "b.json").write_text(changed)


def change_answer(data: Path) -> None:
    shapes = [{"label": "target", "points": [[1, 1], [9, 1], [9, 9]]}]
    (data / "test" / "b.json").write_text(json.dumps(record(data, "b") | {"shapes": shapes}))


def change_picture(data: Path) -> None:
    """Change a byte of a picture, and neither its size nor its time of writing."""
    path = data / "test" / "b.jpg"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def change_order(data: Path) -> None:
    for name in "ab":
        for suffix in (".jpg", ".json"):
            (data / "test" / (name + suffix)).rename(data / "test" / (name + "x" + suffix))
    for name, other in ("ab", "ba"):
        for suffix in (".jpg", ".json"):
            (data / "test" / (name + "x" + suffix)).rename(data / "test" / (other + suffix))


def remove_sample(data: Path) -> None:
    for suffix in (".jpg", ".json"):
        (data / "test" / ("d" + suffix)).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_question, "the ids or questions of the data have changed"),
        (change_answer, "the gold answers or subsets of the data have changed"),
        (change_picture, "the pictures have changed"),
        (change_order, "the ids or questions of the data have changed"),
        (remove_sample, "the ids or questions of the data have changed"),
    ],
)
def test_answers_to_other_data_are_not_taken_for_its_own(
    change: Callable[[Path], None], message: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    change(data)
    answers = ANSWERS | {"the lamp": "?"}
    with pytest.raises(UserError, match=f"{message} since its answers were made; --fresh asks"):
        evaluate.run(benchmark(data), MODEL, out, policy=Scripted(answers))
    again = Scripted(answers)
    evaluate.run(benchmark(data), MODEL, out, policy=again, fresh=True)
    assert len(again.asked) == len(ids(out)) == len(set(ids(out)))


def test_saved_answers_are_shown_with_the_questions_they_were_given(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    change_answer(data)
    results.load_evaluation(out)  # corrected answers are a reason to score again
    note = "the gold answers or subsets of the data have changed; scored against today's"
    assert note in capsys.readouterr().err
    change_question(data)
    with pytest.raises(UserError, match="questions of the data have changed since they were"):
        results.load_evaluation(out)


def test_a_fresh_evaluation_forgets_everything_but_what_is_not_its_own(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    for name in ("masks.jsonl", "worst.html", "notes.txt"):
        (out / name).write_text("old")
    other = ModelConfig(name="other")
    evaluate.run(benchmark(data), other, out, policy=Scripted(), fresh=True)
    assert settings_file.read_settings(out)["model"]["name"] == "other"
    assert not (out / "masks.jsonl").exists()
    assert (out / "worst.html").exists() and (out / "notes.txt").exists()


def test_a_fresh_evaluation_that_cannot_begin_leaves_the_former_answers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def broken(model: ModelConfig) -> Scripted:
        raise UserError(f"model {model.name}: no processor")

    monkeypatch.setattr(evaluate, "load_policy", broken)
    with pytest.raises(UserError, match="no processor"):
        evaluate.run(benchmark(data), ModelConfig(name="other"), out, fresh=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_a_version_without_fingerprints_is_continued(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    settings = settings_file.read_settings(out)
    del settings["fingerprint"]
    settings_file.write_json(out / "settings.json", settings)
    silent = Scripted()
    evaluate.run(benchmark(data), MODEL, out, policy=silent)
    assert silent.asked == []


@pytest.mark.parametrize("work", ["an evaluation", "a training"])
def test_a_folder_into_which_another_process_writes_is_refused_by_name_and_left_alone(
    work: str, data: Path, tmp_path: Path
) -> None:
    """Two evaluations at once, or a run and an evaluation, would mix their answers."""
    out = tmp_path / "out"
    scripted = partial(evaluate.run, benchmark(data), MODEL, out, policy=Scripted())
    with folder_lock.held(out, work):
        predictions.prepare(out, {"benchmark": "the first's"})  # which has not answered yet
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        for ask in (scripted, partial(scripted, fresh=True)):
            with pytest.raises(UserError, match=f"{work} writes there at this moment") as caught:
                ask()
            assert "\n" not in str(caught.value)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "settings.json").unlink()
    scripted()
    assert not (out / folder_lock.NAME).exists()


def test_blanked_pictures_are_grey_and_of_the_same_size(prompts: dict[str, Prompt]) -> None:
    policy = Scripted()
    list(evaluate.predict(policy, prompts, GREEDY, batch_size=4, blank_images=True))
    for blanked, prompt in zip(policy.prompts, prompts.values(), strict=True):
        (image,) = blanked.images
        assert isinstance(image, Image.Image)
        assert (image.size, image.getcolors()) == ((100, 100), [(10_000, (127, 127, 127))])
        assert blanked.text == prompt.text


def test_a_samples_seed_depends_on_neither_the_batch_nor_what_is_done(
    prompts: dict[str, Prompt],
) -> None:
    one, four, rest = Scripted(), Scripted(), Scripted()
    list(evaluate.predict(one, prompts, GREEDY, batch_size=1))
    list(evaluate.predict(four, prompts, GREEDY, batch_size=4))
    list(evaluate.predict(rest, prompts, GREEDY, batch_size=4, done={("a", 0)}))
    assert one.seeds == four.seeds
    assert rest.seeds == {name: one.seeds[name] for name in list(ANSWERS)[1:]}
    assert len(set(one.seeds.values())) == 4
    assert questions.sample_seed(0, "a") != questions.sample_seed(1, "a")


def test_repeats_keep_their_number_and_only_missing_ones_are_given(
    prompts: dict[str, Prompt],
) -> None:
    two = {id: prompts[id] for id in "ab"}
    policy = Scripted({"the owl": ["x", "y", "z"], "the key": ["u", "v", "w"]})
    done = {("a", 0), ("a", 2), ("b", 0), ("b", 1), ("b", 2)}
    drawn = SamplingConfig(temperature=1.0)
    (answer,) = evaluate.predict(policy, two, drawn, batch_size=2, repeats=3, done=done)
    assert (answer.sample_id, answer.repeat, answer.text, answer.tokens) == ("a", 1, "y", 3)
    assert policy.asked == ["the owl"]


def test_answers_come_as_they_are_made_and_in_the_order_of_the_samples(
    prompts: dict[str, Prompt],
) -> None:
    policy = Scripted()
    stream = evaluate.predict(policy, prompts, GREEDY, batch_size=2)
    assert next(stream).sample_id == "a"
    assert policy.calls == 1
    assert [answer.sample_id for answer in stream] == ["b", "c", "d"]


def test_the_prompt_of_a_sample_is_built_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> Callable[[Image.Image, Box], Mask]:
        return lambda image, box: np.ones((image.height, image.width), dtype=np.bool_)

    built: list[str] = []
    prompt = LisaGrounding.prompt

    def counted(task: LisaGrounding, sample: Sample[Target]) -> Prompt:
        built.append(sample.id)
        return prompt(task, sample)

    monkeypatch.setattr(segmentation, "load_segmenter", load)
    monkeypatch.setattr(LisaGrounding, "prompt", counted)
    # asked, scored, made masks of, and shown on a page; and three answers to each sample
    evaluate.run(benchmark(data, segmenter="sam"), MODEL, tmp_path / "out", policy=Scripted())
    assert built == ["a", "b", "c", "d"]
    repeated = benchmark(data, repeats=3, sampling=SamplingConfig(temperature=1.0))
    evaluate.run(repeated, MODEL, tmp_path / "repeated", policy=Scripted())
    assert built == ["a", "b", "c", "d"] * 2


def test_an_unknown_split_is_the_users_mistake(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no split 'val'"):
        evaluate.run(benchmark(data, split="val"), MODEL, tmp_path / "out", policy=Scripted())
    assert not (tmp_path / "out").exists()


HALF = "\ud83d"  # of an emoji, as a cut-off file leaves it


@pytest.mark.parametrize("place", ["answer", "question", "id", "subset"])
def test_half_a_surrogate_pair_is_escaped_in_every_file(place: str, tmp_path: Path) -> None:
    data = write_reasonseg(tmp_path / "data")
    four, answers = benchmark(data), dict(ANSWERS)
    if place == "answer":
        answers["the owl"] += HALF
    elif place == "subset":
        four = replace(four, name=f"four {HALF}")
    task: Task[Any] = registry.build(four.task)
    samples = list(task.samples("test"))
    if place == "question":
        samples[0] = replace(samples[0], question=f"the owl {HALF}")
    elif place == "id":
        samples[0] = replace(samples[0], id=HALF)
    elif place == "subset":
        samples[0] = replace(samples[0], subset=HALF)
    prompts = {sample.id: task.prompt(sample) for sample in samples}
    predictions.prepare(tmp_path / "out", {"benchmark": {"name": four.name}})
    made = evaluate.predict(Scripted(answers), prompts, GREEDY, batch_size=2)
    made = list(predictions.append(tmp_path / "out", made))
    read = predictions.read_predictions(tmp_path / "out" / "predictions.jsonl")
    assert read == made
    evaluation = results.score_predictions(four, task, samples, read, {"note": HALF})
    results.publish(evaluation, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scores.json").read_bytes())["n"] == 4


def test_a_report_says_why_published_values_are_left_out(data: Path, tmp_path: Path) -> None:
    published = benchmark(data, paper={"gpg": 50.0}, paper_samples=4)
    shown = evaluate.run(published, MODEL, tmp_path / "whole", policy=Scripted())
    assert (shown.paper, shown.notes) == ({"gpg": 50.0}, ())
    part = evaluate.run(published, MODEL, tmp_path / "part", policy=Scripted(), limit=2)
    note = "the paper's values are left out: only the first 2 samples were asked"
    assert (part.paper, part.notes) == ({}, (note,))
    assert note in table_text.text(report.table(part), notes=part.notes).splitlines()
    assert json.loads((tmp_path / "part" / "scores.json").read_text())["notes"] == [note]


class Opening(Scripted):
    """A model that opens the pictures that it is asked about."""

    def generate(self, prompts: Any, *others: Any) -> Any:
        for prompt in prompts:
            for image in prompt.images:
                open_image(image)
        return super().generate(prompts, *others)


@pytest.mark.parametrize("gone", [False, True])
def test_a_picture_that_cannot_be_read_is_named_or_counts_as_wrong(
    gone: bool, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = registry.build(benchmark(data).task)
    prompts = {sample.id: task.prompt(sample) for sample in task.samples("test")}
    (picture,) = prompts["b"].images
    with Image.open(picture) as shown:
        width, height = shown.size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "JPEG")
    whole = picture.read_bytes()
    made = benchmark(data)
    settings = replace(made, on_bad_picture="skip")
    # cut off behind its head, which the task reads; or gone when it is asked for
    picture.write_bytes(whole[: len(whole) * 3 // 4])
    if gone:
        asked = questions.bad_pictures
        picture.unlink()
        assert [*asked(prompts, "skip")] == ["b"]
        with pytest.raises(UserError, match=r"^sample 'b': .*: no such picture; data\.on_bad_pict"):
            asked(prompts, "error")
        return
    with pytest.raises(UserError, match=r"^sample 'b': .*; data\.on_bad_picture=skip counts it"):
        evaluate.run(made, MODEL, tmp_path / "out", policy=Opening())
    report = evaluate.run(settings, MODEL, tmp_path / "out", policy=Opening(), batch_size=3)
    assert (report.n, report.missing) == (4, 1)
    assert "1 of 4 samples have a picture that cannot be read" in capsys.readouterr().err
    assert ids(tmp_path / "out") == ["a", "c", "d"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["missing"] == 1
