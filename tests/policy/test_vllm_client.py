"""The client of a vLLM server, and what it makes of answers, against a small HTTP server."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import vllm_server as fake
from PIL import Image

from vrft import policy
from vrft.config.schema import (
    AlgorithmConfig,
    Config,
    LoraConfig,
    ModelConfig,
    RolloutConfig,
    SamplingConfig,
    VllmConfig,
)
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.policy import vllm_client
from vrft.policy.policy import ModelPolicy
from vrft.policy.vllm_client import Client, ServerFailure
from vrft.policy.vllm_engine import VllmEngine
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=6, max_prompt_length=400)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelPolicy:
    from fakes import standard_shape

    folder = standard_shape.write(tmp_path_factory.mktemp("standard"), "qwen2_vl")
    return policy.load(ModelConfig(name=str(folder), dtype="float32"), device="cpu")


def expanded(model: ModelPolicy, body: dict[str, Any]) -> list[int]:
    """Return a request's tokens with the image tokens that a server makes of each picture."""
    processor = model.loaded.processor.image_processor  # type: ignore[union-attr]
    image = model.loaded.core.config.image_token_id
    pictures = iter(body["content_parts"] or [])
    tokens = []
    for token in body["token_ids"]:
        count = 1
        if token == image:
            data = base64.b64decode(next(pictures)["url"].partition(",")[2])
            opened = Image.open(io.BytesIO(data))
            count = int(processor(images=[opened])["image_grid_thw"][0].prod()) // 4
        tokens += [token] * count
    return tokens


def served(model: ModelPolicy) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a server's way of answering: by completions of the model, at its own log-probs."""

    def generate(body: dict[str, Any]) -> dict[str, Any]:
        asked = body["sampling_params"]
        length = asked["max_tokens"]
        rng = np.random.default_rng(asked["seed"])
        choices = [
            {
                "index": index,
                "token_ids": (rng.integers(20, 200, length)).tolist(),
                "logprobs": {"content": [{"token_id": 0, "logprob": -5.0}] * length},
                "finish_reason": "length",
            }
            for index in reversed(range(asked["n"]))
        ]
        return {"prompt_token_ids": expanded(model, body), "choices": choices}

    return generate


@pytest.fixture
def server(model: ModelPolicy) -> Iterator[tuple[str, fake.Answers]]:
    with fake.serving(served(model)) as running:
        yield running


def config(url: str, **vllm: Any) -> Config:
    limits = {"max_logprob_difference": 1000.0, **vllm}
    return Config(
        model=ModelConfig(dtype="float32"),
        sampling=SAMPLING,
        rollout=RolloutConfig("vllm", VllmConfig(url=url, **limits)),
        algorithm=AlgorithmConfig(num_generations=4),
    )


def attached(model: ModelPolicy, url: str, folder: Path, **vllm: Any) -> VllmEngine:
    given = config(url, **vllm)
    name = str(model.loaded.core.config.name_or_path)
    return VllmEngine(replace(given, model=ModelConfig(name, "float32")), model, folder)


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encode(model: ModelPolicy) -> list[Encoded]:
    return model.encode([Prompt("Where?", (noise(97, 131), noise(56, 56))), Prompt("What?")])


GENERATE = "/inference/v1/generate"

# --- requests


def test_a_request_names_every_setting_and_one_image_token_a_picture(model: ModelPolicy) -> None:
    prompt = encode(model)[0]
    body = vllm_client.generate_request(model.loaded, "m", prompt, 8, SAMPLING, 5)
    image = model.loaded.core.config.image_token_id
    assert body["token_ids"].count(image) == 2 < prompt.tokens.tolist().count(image)
    assert expanded(model, body) == prompt.tokens.tolist()
    asked = body["sampling_params"]
    assert (asked["n"], asked["seed"], asked["max_tokens"]) == (8, 5, 6)
    assert asked["stop_token_ids"] == sorted(model.loaded.end_ids)
    assert set(asked["logit_bias"]) == {str(token) for token in model.loaded.banned_ids}
    assert {"temperature", "top_p", "top_k", "repetition_penalty"} <= set(asked)


def test_pictures_are_sent_at_the_size_that_the_model_sees(model: ModelPolicy) -> None:
    prompt = encode(model)[0]
    body = vllm_client.generate_request(model.loaded, "m", prompt, 1, SAMPLING, 5)
    sizes = []
    for part in body["content_parts"]:
        data = base64.b64decode(part["url"].partition(",")[2])
        sizes.append(Image.open(io.BytesIO(data)).size)
    assert sizes == [(view.width, view.height) for view in prompt.views]


# --- answers


def test_completions_come_in_order_with_their_log_probabilities(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    groups = engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert [len(group) for group in groups] == [4, 4]
    again = engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert groups == again
    assert all(r.logprobs == (-5.0,) * 6 and not r.finished for g in groups for r in g)
    paths = [path for path, _ in server[1].asked]
    # attached, weights exchanged, a first request with a picture, then those of the two samplings
    assert paths[:5] == [
        *("/version", "/v1/models", "/pause?mode=wait", "/collective_rpc", "/resume")
    ]
    assert paths.count("/inference/v1/generate") == 1 + 2 + 2
    first = next(body for path, body in server[1].asked if path == GENERATE)
    assert first["content_parts"] and first["model"] == "served"
    engine.close()
    assert not engine.files.folder.exists()


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer.pop(key)


def in_choice(**entries: Any) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["choices"][0].update(entries)


GARBAGE = {
    "no choices": (drop("choices"), "no 'choices'"),
    "no prompt": (drop("prompt_token_ids"), "no 'prompt_token_ids'"),
    "too few": (lambda answer: answer["choices"].pop(), "does not return 4 completions"),
    "aborted": (in_choice(finish_reason="abort"), "ended by 'abort'"),
    "no tokens": (in_choice(token_ids=[]), "0 tokens"),
    "cut early": (in_choice(token_ids=[20]), "after 1 of 6 tokens"),
    "too long": (in_choice(token_ids=[20] * 7), "7 tokens of at most 6"),
    "no end": (in_choice(finish_reason="stop"), "ended by 'stop' after 6 of 6"),
    "end inside": (in_choice(token_ids=[0, 20, 20, 20, 20, 20]), r"ends at \[1\]"),
    "no token": (in_choice(token_ids=[20] * 5 + [10**6]), "token 1000000"),
    "null": (in_choice(token_ids=None), "cannot be read"),
    "no log-probs": (in_choice(logprobs=None), "cannot be read"),
    "few log-probs": (in_choice(logprobs={"content": [{"logprob": -1}]}), "are none"),
    "NaN": (in_choice(logprobs={"content": [{"logprob": -9999.0}] * 6}), "are none"),
    "above 1": (in_choice(logprobs={"content": [{"logprob": 0.5}] * 6}), "are none"),
}


@pytest.mark.parametrize("name", list(GARBAGE))
def test_garbage_ends_the_run_in_one_line(
    name: str, model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    spoil, reason = GARBAGE[name]
    engine = attached(model, server[0], tmp_path)
    server[1].spoil = spoil
    with pytest.raises(UserError, match=f"the server failed: .*{reason}"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()


def test_a_picture_marker_in_a_completion_is_garbage(model: ModelPolicy) -> None:
    choice = {
        "index": 0,
        "token_ids": [20, model.loaded.banned_ids[0]],
        "logprobs": {"content": [{"logprob": -1.0}] * 2},
        "finish_reason": "length",
    }
    with pytest.raises(ValueError, match="none that may be sampled"):
        vllm_client.read_choice(choice, model.loaded, 2)


def test_another_prompt_than_the_trainers_is_refused(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    server[1].spoil = lambda answer: answer["prompt_token_ids"].pop()
    with pytest.raises(UserError, match=r"reads a prompt of .* limits of picture sizes"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()


def test_a_refusal_is_told_in_the_servers_words(server: tuple[str, fake.Answers]) -> None:
    url, answers = server
    answers.status["/version"] = 400
    answers.text["/version"] = '{"error": {"message": "n must\\n be less"}}'
    with pytest.raises(UserError, match=r"refuses /version: n must be less$"):
        Client(url).version()


def test_statuses_and_texts_that_are_no_answer_are_failures(
    server: tuple[str, fake.Answers],
) -> None:
    url, answers = server
    answers.status["/version"] = 500
    with pytest.raises(ServerFailure, match="status 500"):
        Client(url).version()
    answers.status["/version"], answers.text["/version"] = 200, "<html>"
    with pytest.raises(ServerFailure, match="no JSON"):
        Client(url).version()
    answers.text["/version"] = "[]"
    with pytest.raises(ServerFailure, match="no 'version'"):
        Client(url).version()
    with pytest.raises(ServerFailure, match="no answer to /version"):
        Client("http://127.0.0.1:9").version()


@pytest.mark.parametrize("url", ["localhost:8000", "https://x/", "ftp://a", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="give the address"):
        Client(url)


# --- attaching, hanging, failing


def test_a_server_of_another_version_or_with_too_short_prompts_is_refused(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    answers.version = "0.31.2"
    with pytest.raises(UserError, match=r"has vLLM 0\.31\.2; install vLLM 0\.32"):
        attached(model, url, tmp_path)
    answers.version, answers.limit = "0.32.1", 256
    with pytest.raises(UserError, match=r"serves 256 tokens.*--max-model-len 406"):
        attached(model, url, tmp_path)


def test_a_server_that_takes_no_weights_is_refused_with_the_way_to_start_one(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    answers.status["/pause"] = 404
    with pytest.raises(UserError, match=r"takes no new weights .*vllm_launcher.py serve"):
        attached(model, url, tmp_path)


def test_a_server_that_hangs_ends_the_run(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path, timeout=2.0)
    server[1].hang.clear()
    began = time.monotonic()
    with pytest.raises(UserError, match="it hangs: no token for 2 s"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert time.monotonic() - began < 20
    engine.close()


def test_a_server_that_dies_while_weights_are_exchanged_is_noticed(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    """Its front waits for its open calls and answers none of them, for as long as they last."""
    engine = attached(model, server[0], tmp_path, timeout=60.0)
    answers = server[1]
    answers.hanging = "/pause"
    answers.hang.clear()
    answers.status["/health"] = 503
    with pytest.raises(UserError, match="the server failed: status 503 to /health"):
        engine.sync()
    assert not answers.hang.is_set()  # no answer has come
    engine.close()


def test_a_slow_server_that_makes_tokens_does_not_hang(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path, timeout=1.5)
    answers, done = server[1], threading.Event()
    answers.hang.clear()

    def work() -> None:
        for _ in range(20):  # 4 seconds, more than twice the timeout
            answers.made += 1
            time.sleep(0.2)
        answers.hang.set()
        done.set()

    threading.Thread(target=work).start()
    assert len(engine.sample(encode(model), 4, SAMPLING, [3, 4])) == 2
    assert done.is_set()
    engine.close()


def test_log_probabilities_that_differ_are_told_or_end_a_strict_run(
    model: ModelPolicy,
    server: tuple[str, fake.Answers],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = attached(model, server[0], tmp_path, max_logprob_difference=None)
    engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert "log-probabilities differ" in capsys.readouterr().err
    engine.sample(encode(model), 4, SAMPLING, [3, 4])
    assert capsys.readouterr().err == ""  # once after each exchange of weights
    assert len(engine.differences) == 2 * 4 * 6
    engine.sync()
    engine.settings = replace(engine.settings, strict=True)
    with pytest.raises(UserError, match=r"max_logprob_difference=0\.0001"):
        engine.sample(encode(model), 4, SAMPLING, [3, 4])
    engine.close()


def test_the_weights_that_are_handed_over_are_the_models(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    engine = attached(model, server[0], tmp_path)
    paths = [body["args"][0] for path, body in server[1].asked if path == "/collective_rpc"]
    assert paths == [str(engine.files.weights)]
    written = load_file(engine.files.weights)
    own = model.module.state_dict()
    assert torch.equal(written["model.embed_tokens.weight"],
                       own["model.model.language_model.embed_tokens.weight"])  # fmt: skip
    assert "lm_head.weight" not in written  # tied
    engine.close()


# --- adapters

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


@pytest.fixture
def adapted(model: ModelPolicy) -> ModelPolicy:
    name = str(model.loaded.core.config.name_or_path)
    lora = ModelConfig(name, "float32", lora=LoraConfig(r=4))
    return policy.load(lora, train=True, device="cpu")


def test_an_adapter_has_a_new_name_after_each_exchange(
    adapted: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    given = config(url, lora="adapter")
    name = str(adapted.loaded.core.config.name_or_path)
    made = replace(given, model=ModelConfig(name, "float32", lora=LoraConfig(r=4)))
    answers.text[LOAD] = answers.text[UNLOAD] = "Success: it is no JSON."
    engine = VllmEngine(made, adapted, tmp_path)
    first, folder = engine.model, engine.files.adapter
    assert [body["model"] for path, body in answers.asked if path == GENERATE] == [first]
    engine.sync()
    exchanges = [(path, body) for path, body in answers.asked if path != "/metrics"]
    assert exchanges[2:] == [
        ("/pause?mode=wait", None),  # the base, whatever the server has had before
        ("/collective_rpc", {"method": "vrft_reload", "args": [str(engine.files.weights)],
                             "timeout": given.rollout.vllm.start_timeout}),
        ("/resume", None),
        ("/pause?mode=wait", None),
        (LOAD, {"lora_name": first, "lora_path": str(folder)}),
        ("/resume", None),
        next(pair for pair in exchanges if pair[0] == GENERATE),
        ("/pause?mode=wait", None),
        (LOAD, {"lora_name": engine.model, "lora_path": str(engine.files.adapter)}),
        (UNLOAD, {"lora_name": first}),
        ("/resume", None),
    ]  # fmt: skip
    assert engine.model != first and engine.files.adapter != folder
    engine.close()


def test_a_server_without_adapters_is_refused_with_its_arguments_and_serves_on(
    adapted: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    given = config(url, lora="adapter")
    name = str(adapted.loaded.core.config.name_or_path)
    made = replace(given, model=ModelConfig(name, "float32", lora=LoraConfig(r=4)))
    answers.status[LOAD] = 404
    with pytest.raises(UserError, match=r"takes no new weights .*--enable-lora --max-lora-rank 8`"):
        VllmEngine(made, adapted, tmp_path)
    assert [path for path, _ in answers.asked][-1] == "/resume"
