"""An evaluation of a model behind a server: stand-ins for it, and a real vLLM at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import processes, real_vllm, standard_shape
from fakes.chat_server import Asked, ChatServer, Reply, completion, error, serving
from fakes.scripted import ANSWERS, Scripted, benchmark, write_reasonseg
from PIL import Image

from vrft import policy
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.endpoints.endpoint_settings import EndpointConfig
from vrft.engines.server import reserved_port
from vrft.errors import UserError
from vrft.evaluation import (
    comparison,
    endpoint,
    evaluate,
    predictions,
    report,
    settings_file,
    table_text,
)
from vrft.evaluation.benchmark import Benchmark, load_benchmark
from vrft.types import View

MODEL = ModelConfig(name="scripted")
KEY = "sk-very-secret-0123456789"
UNANSWERED = ("what flies", "what rings")
PICTURED = "The owl in pixels of 112: <answer>(22,22),(67,67)</answer>"


@pytest.fixture
def four(tmp_path: Path) -> Benchmark:
    return benchmark(write_reasonseg(tmp_path / "data"))


def instruction(asked: Asked) -> str:
    """The instruction within a question of the grounding task."""
    return next(name for name in ANSWERS if name in asked.question)


def scripted(asked: Asked) -> Reply:
    """Reply as the scripted policy answers."""
    return completion(ANSWERS[instruction(asked)])


def settings(server: ChatServer, **fields: Any) -> EndpointConfig:
    """Return the settings of an endpoint that is asked without pauses."""
    given = {"url": server.url, "model": "m", "family": "qwen2_vl", "pause": 0.01, **fields}
    return EndpointConfig(**given)


def lines(out: Path) -> list[str]:
    """Return the predictions in the order of their samples."""
    return sorted((out / "predictions.jsonl").read_text().splitlines())


# --- answers and scores


def test_an_endpoint_has_the_scores_of_the_same_answers_by_a_model(
    four: Benchmark, tmp_path: Path
) -> None:
    own = evaluate.run(four, MODEL, tmp_path / "model", policy=Scripted())
    with serving(scripted) as server:
        asked = endpoint.run(four, settings(server), tmp_path / "endpoint")
    assert asked == own
    assert asked.metrics["iou"].mean == pytest.approx(0.375)
    pairing = comparison.pair(tmp_path / "model", tmp_path / "endpoint")
    assert (pairing.changes, len(pairing.metrics)) == ((), len(own.metrics))
    written = settings_file.read_settings(tmp_path / "endpoint")["endpoint"]
    assert (written["model"], written["url"]) == ("m", server.url)


def test_parallel_answers_are_those_of_one_at_a_time(four: Benchmark, tmp_path: Path) -> None:
    delays = dict(zip(ANSWERS, (0.3, 0.2, 0.1, 0.0), strict=True))  # the last comes first

    together = threading.Barrier(4)

    def late(asked: Asked) -> Reply:
        together.wait(60)
        time.sleep(delays[instruction(asked)])
        return scripted(asked)

    with serving(late) as server:
        endpoint.run(four, settings(server, concurrency=4), tmp_path / "many")
        assert server.most_under_way == 4
        server.reply, server.most_under_way = scripted, 0
        endpoint.run(four, settings(server, concurrency=1), tmp_path / "one")
        assert server.most_under_way == 1
    order = [
        answer.sample_id
        for answer in predictions.read_predictions(tmp_path / "many/predictions.jsonl")
    ]
    assert order == ["d", "c", "b", "a"]
    assert lines(tmp_path / "many") == lines(tmp_path / "one")
    made = [(tmp_path / name / "scores.json").read_text() for name in ("many", "one")]
    assert made[0] == made[1]


def test_coordinates_are_read_in_the_space_of_the_family(four: Benchmark, tmp_path: Path) -> None:
    scores = {}
    with serving(lambda asked: completion(PICTURED)) as server:
        for name, fields in {
            "pixels": {"family": "qwen2_5_vl"},
            "thousandths": {"family": "qwen2_vl"},
            "server": {"family": "qwen2_5_vl", "resize": "server"},
            "as sent": {"family": "", "resize": "server", "space": "pixels"},
        }.items():
            made = endpoint.run(four, settings(server, **fields), tmp_path / name)
            (views,) = {a.views for a in predictions.read_predictions(
                tmp_path / name / "predictions.jsonl")}  # fmt: skip
            scores[name] = (views, round(made.metrics["iou"].mean, 2), len(made.notes))
    # The truth is 0.2 to 0.6. (22, 67) of 112 pixels is 0.196 to 0.598, whose IoU with it is
    # 0.398^2 / (0.4^2 + 0.402^2 - 0.398^2) = 0.1586 / 0.1628. Of 1000 it is 0.022 to 0.067: apart.
    # Of 100 it is 0.22 to 0.67: 0.38^2 / (0.4^2 + 0.45^2 - 0.38^2) = 0.1444 / 0.2181.
    assert scores == {
        "pixels": ((View(112, 112, "pixels"),), 0.97, 0),
        "thousandths": ((View(112, 112, "thousandths"),), 0.0, 0),
        "server": ((View(112, 112, "pixels"),), 0.97, 1),
        "as sent": ((View(100, 100, "pixels"),), 0.66, 1),
    }
    with pytest.raises(UserError, match=r"holds an evaluation with endpoint.resize: server"):
        endpoint.run(four, settings(server, family="qwen2_5_vl"), tmp_path / "server")
    told = table_text.text(report.table(made), notes=made.notes)
    assert "the server resized the pictures" in told
    assert told.endswith("coordinates are read in pixels of the pictures sent\n")


def test_what_the_server_says_of_its_answers_is_kept(four: Benchmark, tmp_path: Path) -> None:
    made = replace(four, repeats=2, sampling=SamplingConfig(temperature=1.0), seed=3)
    with serving(lambda asked: completion("größer 😀", "", finish="length")) as server:
        endpoint.run(made, settings(server), tmp_path / "out", limit=1)
    first, second = predictions.read_predictions(tmp_path / "out" / "predictions.jsonl")
    assert (first.text, first.repeat, first.finished, first.tokens) == ("größer 😀", 0, False, 0)
    assert (second.text, second.repeat) == ("", 1)
    (asked,) = server.asked
    assert (asked.body["n"], asked.body["temperature"]) == (2, 1.0)


def test_strange_answers_are_told_at_the_end(
    four: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str], model_folder: Any
) -> None:
    left = [error(429, "slow"), error(500, "oh")]

    def reply(asked: Asked) -> Reply:
        return left.pop() if left else completion("", finish="content_filter")

    with serving(reply) as server:
        fields = {"family": "", "processor": str(model_folder("qwen2_vl"))}
        endpoint.run(four, settings(server, **fields), tmp_path / "out")
    told = capsys.readouterr().err
    assert "note: requests were tried again: 1 x status" in told
    assert "note: 4 samples have an answer without text, such as" in told
    assert "(finish_reason content_filter)" in told
    assert "note: the server reads 4 prompts in another number of tokens than the proc" in told


# --- what is refused


def test_pictures_that_nobody_knows_how_to_send_are_refused_before_anything_is_made(
    four: Benchmark, tmp_path: Path
) -> None:
    with serving(scripted) as server:
        for fields, reason in (
            ({}, "give endpoint.family=qwen2_5_vl, .* or endpoint.resize=server"),
            ({"resize": "server"}, "answer to 'a' has coordinates: give endpoint.family"),
        ):
            with pytest.raises(UserError, match=reason):
                endpoint.run(four, settings(server, family="", **fields), tmp_path / "out")
    assert (server.asked, (tmp_path / "out").exists()) == ([], False)
    base = load_benchmark("demo_spatial", ["task.style=base"])
    untemplated = r"^sample '.*': the task asks without a chat template"
    with serving(scripted) as server, pytest.raises(UserError, match=untemplated):
        endpoint.run(base, settings(server), tmp_path / "out")
    assert (server.asked, (tmp_path / "out").exists()) == ([], False)
    counted = load_benchmark("demo_counting")
    with serving(lambda asked: completion("<answer>3</answer>")) as server:  # no coordinates
        made = settings(server, family="", resize="server")
        assert endpoint.run(counted, made, tmp_path / "counted", limit=3).n == 3


def test_a_refusal_names_the_sample_and_keeps_what_is_answered(
    four: Benchmark, tmp_path: Path
) -> None:
    def reply(asked: Asked) -> Reply:
        return error(400, "too long") if "flies" in asked.question else scripted(asked)

    with serving(reply) as server:
        with pytest.raises(UserError, match=r"^sample 'c': .* refuses .* \(400\): too long$"):
            endpoint.run(four, settings(server, concurrency=1), tmp_path / "out")
        assert [json.loads(line)["id"] for line in lines(tmp_path / "out")] == ["a", "b"]
        server.reply = scripted
        server.asked.clear()
        endpoint.run(four, settings(server, concurrency=3), tmp_path / "out")
    assert len(server.asked) == 2  # c and d; other settings of the asking change no answer
    assert [json.loads(line)["id"] for line in lines(tmp_path / "out")] == ["a", "b", "c", "d"]


def test_a_picture_that_cannot_be_read_names_its_sample_or_is_left_out(
    four: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "data" / "test" / "b.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture)
    picture.write_bytes(picture.read_bytes()[:-2000])  # cut off behind its head
    with serving(scripted) as server:
        with pytest.raises(UserError, match=r"^sample 'b': .*; data.on_bad_picture=skip counts it"):
            endpoint.run(four, settings(server), tmp_path / "out")
        skipping = replace(four, on_bad_picture="skip")
        made = endpoint.run(skipping, settings(server), tmp_path / "out")
    assert (made.n, made.missing) == (4, 1)
    assert "1 of 4 samples have a picture that cannot be read" in capsys.readouterr().err


# --- interruptions


def test_an_interrupted_evaluation_goes_on_and_keeps_each_answer_once(
    four: Benchmark, tmp_path: Path
) -> None:
    """A process is killed while the server hangs; the next asks for what is missing alone."""
    out = tmp_path / "out"

    def reply(asked: Asked) -> Reply:
        return Reply(hang=True) if instruction(asked) in UNANSWERED else scripted(asked)

    for kill in (signal.SIGKILL, signal.SIGINT):
        with serving(reply) as server:
            process = start(four, server, out)
            try:
                processes.wait_until(lambda: {*UNANSWERED} <= {*map(instruction, server.asked)}, 60)
                processes.wait_until(lambda: len(lines(out)) == 2, 60)
                process.send_signal(kill)
                assert process.wait(timeout=20) != 0  # at once, though requests hang
            finally:
                process.kill()
                process.wait()
            (out / "settings.json").write_text(  # the address of the next server
                (out / "settings.json").read_text().replace(server.url, "http://host/v1")
            )
    told = (tmp_path / "stderr").read_text()
    assert told.splitlines()[-1] == "vrft: interrupted"
    with serving(scripted) as server:
        written = (out / "settings.json").read_text()
        (out / "settings.json").write_text(written.replace("http://host/v1", server.url))
        made = endpoint.run(four, settings(server), out)
    assert sorted(map(instruction, server.asked)) == [*UNANSWERED]
    assert [json.loads(line)["id"] for line in lines(out)] == ["a", "b", "c", "d"]
    assert made.metrics["iou"].mean == pytest.approx(0.375)


def start(four: Benchmark, server: ChatServer, out: Path) -> subprocess.Popen[bytes]:
    """Start `vrft eval --endpoint` on the four samples in a process of its own."""
    file = out.parent / "four.yaml"
    data = four.task.settings["data_dir"]
    file.write_text(
        f"task: {{name: lisa_grounding, settings: {{data_dir: {data}}}}}\nsplit: test\n"
    )
    if (out / "settings.json").is_file():
        text = (out / "settings.json").read_text().replace("http://host/v1", server.url)
        (out / "settings.json").write_text(text)
    words = ["eval", "--benchmark", file, "--endpoint", server.url, "--model", "m", "--out", out]
    with (out.parent / "stderr").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "vrft", *map(str, words), "endpoint.family=qwen2_vl"],
            stderr=file,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )


# --- the key


def test_no_file_and_no_message_holds_the_key(
    four: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("OTHER_KEY", KEY)
    caplog.set_level("DEBUG")
    left = [error(500, f"Bearer {KEY} failed")]

    def reply(asked: Asked) -> Reply:
        assert asked.headers["Authorization"] == f"Bearer {KEY}"
        return left.pop() if left else scripted(asked)

    with serving(reply) as server:
        made = settings(server, key_env="OTHER_KEY", url=server.url + f"?key={KEY}")
        endpoint.run(four, made, tmp_path / "out")
        server.reply = lambda asked: error(401, f"wrong key: {KEY}")
        with pytest.raises(
            UserError, match=r"wrong key: \*\*\*; the key is .* OTHER_KEY"
        ) as caught:
            endpoint.run(four, made, tmp_path / "other")
        server.reply = lambda asked: completion(f"Your key is {KEY}.")
        with pytest.raises(UserError, match="the answer holds the key of OTHER_KEY") as leaked:
            endpoint.run(four, made, tmp_path / "third")
        with pytest.raises(UserError, match="a setting holds the key") as written:
            endpoint.run(four, replace(made, extra_body={"user": KEY}), tmp_path / "fourth")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"settings.json", "predictions.jsonl", "scores.json"} <= {file.name for file in files}
    texts = [file.read_bytes().decode("utf-8", "replace") for file in files]
    texts += [str(raised.value) for raised in (caught, leaked, written)]
    texts += [*capsys.readouterr(), caplog.text]
    assert not [text for text in texts if KEY in text]


# --- requests for batch services


def test_the_requests_of_a_batch_are_those_that_are_sent(four: Benchmark, tmp_path: Path) -> None:
    with serving(scripted) as server:
        server.models = Reply("", 404)
        endpoint.run(four, settings(server, concurrency=1), tmp_path / "out")
        (file,) = endpoint.write_prompts(four, settings(server), tmp_path / "requests.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["custom_id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["body"] for row in rows] == [asked.body for asked in server.asked]


# --- the real server: run by `make test-vllm`


@contextmanager
def vllm(model: Path, folder: Path) -> Iterator[str]:
    """Serve a model's folder by vLLM on the CPU, as a user would; yield the address."""
    with reserved_port() as reserved:
        port = reserved.getsockname()[1]
        command = [real_vllm.BIN / "python", "-m", "vllm.entrypoints.openai.api_server",
                   "--model", model, "--host", "127.0.0.1", "--port", port, "--dtype", "float32",
                   "--served-model-name", "tiny", "--enforce-eager", "--max-model-len", 512,
                   "--max-num-seqs", 16]  # fmt: skip
        with real_vllm.running(list(map(str, command)), folder):
            yield f"http://127.0.0.1:{port}/v1"


@pytest.mark.vllm
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_real_servers_answers_and_scores_are_those_of_the_model(
    family: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = standard_shape.write(tmp_path / "model", family)
    asked = load_benchmark("demo_grounding", ["sampling.max_completion_length=32"])
    config = ModelConfig(name=str(model), dtype="float32")
    evaluate.run(
        asked, config, tmp_path / "own", policy=policy.load(config, device="cpu"), limit=20
    )
    with vllm(model, tmp_path) as url:
        made = EndpointConfig(url=url, model="tiny", processor=str(model))
        endpoint.run(asked, made, tmp_path / "endpoint", limit=20)
    assert "number of tokens" not in capsys.readouterr().err  # the server counts as we do
    own, served = (answers_by_id(tmp_path / name) for name in ("own", "endpoint"))
    assert len(own) == 20
    assert len({answer["text"] for answer in own.values()}) == 20  # no answer fits two samples
    assert served == own
    pairing = comparison.pair(tmp_path / "own", tmp_path / "endpoint")
    assert pairing.changes == ()


def answers_by_id(out: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of predictions, without half a character at the end of their texts.

    Where the limit of tokens cuts a character, vLLM leaves its first bytes out.
    """
    rows = [json.loads(line) for line in lines(out)]
    return {row["id"]: row | {"text": row["text"].rstrip("\ufffd")} for row in rows}
